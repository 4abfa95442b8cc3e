/** WS-Security as EC2 asks for it, put into each request: certificate, timestamp, and a signature over timestamp and body. */
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Base64;
import java.util.List;
import javax.xml.XMLConstants;
import javax.xml.crypto.dom.DOMStructure;
import javax.xml.crypto.dsig.CanonicalizationMethod;
import javax.xml.crypto.dsig.DigestMethod;
import javax.xml.crypto.dsig.Reference;
import javax.xml.crypto.dsig.SignatureMethod;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMSignContext;
import javax.xml.crypto.dsig.spec.C14NMethodParameterSpec;
import javax.xml.crypto.dsig.spec.TransformParameterSpec;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.apache.axis.AxisFault;
import org.apache.axis.MessageContext;
import org.apache.axis.SOAPPart;
import org.apache.axis.handlers.BasicHandler;
import org.apache.axis.message.SOAPEnvelope;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

public class Signer extends BasicHandler {
  private static final String OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-";
  private static final String WSSE = OASIS + "wssecurity-secext-1.0.xsd";
  private static final String WSU = OASIS + "wssecurity-utility-1.0.xsd";
  private static final String X509 = OASIS + "x509-token-profile-1.0#X509v3";
  private final transient PrivateKey key;
  private final byte[] certificate;

  public Signer(String certificateFile, String keyFile) throws Exception {
    try (var in = Files.newInputStream(Path.of(certificateFile))) {
      certificate = CertificateFactory.getInstance("X.509").generateCertificate(in).getEncoded();
    }
    String pem = Files.readString(Path.of(keyFile)).replaceAll("-----[A-Z ]+-----|\\s", "");
    key = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
  }

  @Override
  public void invoke(MessageContext context) throws AxisFault {
    try {
      SOAPPart part = (SOAPPart) context.getCurrentMessage().getSOAPPart();
      Document document = ((SOAPEnvelope) part.getEnvelope()).getAsDocument();
      sign(document);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      TransformerFactory.newInstance().newTransformer().transform(new DOMSource(document), new StreamResult(bytes));
      part.setCurrentMessage(bytes.toByteArray(), SOAPPart.FORM_BYTES);
    } catch (Exception e) {
      throw AxisFault.makeFault(e);
    }
  }

  private void sign(Document document) throws Exception {
    Element envelope = document.getDocumentElement();
    String soap = envelope.getNamespaceURI();
    // What is canonicalized are the declarations that stand in the document, not those that its serializer will add.
    envelope.setAttributeNS(XMLConstants.XMLNS_ATTRIBUTE_NS_URI, "xmlns:wsse", WSSE);
    envelope.setAttributeNS(XMLConstants.XMLNS_ATTRIBUTE_NS_URI, "xmlns:wsu", WSU);
    Element body = (Element) envelope.getElementsByTagNameNS(soap, "Body").item(0);
    Element header = (Element) envelope.getElementsByTagNameNS(soap, "Header").item(0);
    if (header == null) {
      header = document.createElementNS(soap, envelope.getPrefix() + ":Header");
      envelope.insertBefore(header, body);
    }
    Element security = child(header, WSSE, "wsse:Security");
    Element token = child(security, WSSE, "wsse:BinarySecurityToken");
    token.setAttribute("ValueType", X509);
    token.setAttribute("EncodingType", OASIS + "soap-message-security-1.0#Base64Binary");
    token.setTextContent(Base64.getEncoder().encodeToString(certificate));
    identify(token, "token");
    Element timestamp = child(security, WSU, "wsu:Timestamp");
    Instant now = Instant.now().truncatedTo(ChronoUnit.MILLIS);
    child(timestamp, WSU, "wsu:Created").setTextContent(now.toString());
    child(timestamp, WSU, "wsu:Expires").setTextContent(now.plusSeconds(300).toString());
    identify(timestamp, "timestamp");
    identify(body, "body");

    Element reference = document.createElementNS(WSSE, "wsse:SecurityTokenReference");
    Element at = child(reference, WSSE, "wsse:Reference");
    at.setAttribute("URI", "#token");
    at.setAttribute("ValueType", X509);
    XMLSignatureFactory factory = XMLSignatureFactory.getInstance("DOM");
    var signed = factory.newSignedInfo(
      factory.newCanonicalizationMethod(CanonicalizationMethod.EXCLUSIVE, (C14NMethodParameterSpec) null),
      factory.newSignatureMethod(SignatureMethod.RSA_SHA1, null), List.of(over(factory, "#timestamp"), over(factory, "#body")));
    var info = factory.getKeyInfoFactory().newKeyInfo(List.of(new DOMStructure(reference)));
    DOMSignContext into = new DOMSignContext(key, security);
    into.setDefaultNamespacePrefix("ds");
    factory.newXMLSignature(signed, info).sign(into);
  }

  private static Reference over(XMLSignatureFactory factory, String uri) throws Exception {
    return factory.newReference(uri, factory.newDigestMethod(DigestMethod.SHA1, null),
      List.of(factory.newTransform(CanonicalizationMethod.EXCLUSIVE, (TransformParameterSpec) null)), null, null);
  }

  private static Element child(Element parent, String namespace, String name) {
    return (Element) parent.appendChild(parent.getOwnerDocument().createElementNS(namespace, name));
  }

  private static void identify(Element element, String id) {
    element.setAttributeNS(WSU, "wsu:Id", id);
    element.setIdAttributeNS(WSU, "Id", true);
  }
}
