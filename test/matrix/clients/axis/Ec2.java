/**
 * The calls of a session by the classes that WSDL2Java has made of one version's WSDL. `DOC` and `NEW_STATE` are replaced by that version's
 * names before it is compiled. A line of input is a call, its words in base64; a line of output is what it gave.
 */
import com.amazonaws.ec2.doc.DOC.*;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.axis.AxisFault;
import org.apache.axis.SimpleTargetedChain;
import org.apache.axis.configuration.SimpleProvider;
import org.apache.axis.transport.http.HTTPSender;

public class Ec2 {
  protected final AmazonEC2PortType port;
  private final String type = System.getenv("INSTANCE_TYPE");

  public Ec2(AmazonEC2PortType port) {
    this.port = port;
  }

  public static AmazonEC2PortType connect(String[] args) throws Exception {
    SimpleProvider config = new SimpleProvider();
    config.deployTransport("http", new SimpleTargetedChain(new Signer(args[1], args[2]), new HTTPSender(), null));
    return new AmazonEC2Locator(config).getAmazonEC2Port(new URL(args[0]));
  }

  public static void main(String[] args) throws Exception {
    new Ec2(connect(args)).serve();
  }

  public void serve() throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      List<String> words = Arrays.stream(line.split(" ", -1)).map((w) -> new String(Base64.getDecoder().decode(w), StandardCharsets.UTF_8)).collect(Collectors.toList());
      try {
        say(Stream.concat(Stream.of("gave"), call(words.get(0), words.subList(1, words.size()))));
      } catch (AxisFault fault) {
        say(Stream.of("fault", fault.getFaultCode().getLocalPart(), fault.getFaultString()));
      }
    }
  }

  private static void say(Stream<String> words) {
    System.out.println(words.map((w) -> Base64.getEncoder().encodeToString(w.getBytes(StandardCharsets.UTF_8))).collect(Collectors.joining(" ")));
    System.out.flush();
  }

  protected Stream<String> call(String name, List<String> words) throws Exception {
    switch (name) {
      case "images": {
        DescribeImagesType request = new DescribeImagesType();
        request.setExecutableBySet(new DescribeImagesTypeExecutableBySetItem[0]);
        request.setImagesSet(new DescribeImagesTypeImagesSetItem[0]);
        request.setOwnersSet(new DescribeImagesTypeOwnersSetItem[0]);
        return Arrays.stream(port.describeImages(request).getImagesSet()).map((i) -> i.getImageLocation());
      }
      case "key pair":
        return Stream.of(port.createKeyPair(new CreateKeyPairType(words.get(0))).getKeyMaterial());
      case "run": {
        RunInstancesType request = new RunInstancesType();
        request.setImageId(words.get(0));
        request.setMinCount(Integer.parseInt(words.get(1)));
        request.setMaxCount(Integer.parseInt(words.get(1)));
        request.setKeyName(words.get(2));
        request.setGroupSet(new RunInstancesTypeGroupSetItem[0]);
        request.setInstanceType(type);
        RunInstancesTypeUserData data = new RunInstancesTypeUserData();
        data.setVersion("1.0");
        data.setEncoding("base64");
        data.setData(Base64.getEncoder().encodeToString(words.get(3).getBytes(StandardCharsets.UTF_8)));
        request.setUserData(data);
        return Arrays.stream(port.runInstances(request).getInstancesSet()).map((i) -> i.getInstanceId());
      }
      case "states":
        return instances(words).map((i) -> i.getInstanceState().getName());
      case "address":
        return instances(words).map((i) -> i.getDnsName());
      case "console":
        return Stream.of(port.getConsoleOutput(new GetConsoleOutputType(words.get(0))).getOutput());
      case "reboot": {
        RebootInstancesTypeInstancesSetItem[] items = words.stream().map(RebootInstancesTypeInstancesSetItem::new).toArray(RebootInstancesTypeInstancesSetItem[]::new);
        return Stream.of(String.valueOf(port.rebootInstances(new RebootInstancesType(items)).is_return()));
      }
      case "terminate": {
        TerminateInstancesTypeInstancesSetItem[] items = words.stream().map(TerminateInstancesTypeInstancesSetItem::new).toArray(TerminateInstancesTypeInstancesSetItem[]::new);
        return Arrays.stream(port.terminateInstances(new TerminateInstancesType(items)).getInstancesSet()).map((i) -> i.getNEW_STATE().getName());
      }
      default:
        throw new IllegalArgumentException(name);
    }
  }

  protected Stream<DescribeInstancesResponseTypeReservationSetItemInstancesSetItem> instances(List<String> ids) throws Exception {
    DescribeInstancesType request = new DescribeInstancesType();
    request.setInstancesSet(ids.stream().map(DescribeInstancesTypeInstancesSetItem::new).toArray(DescribeInstancesTypeInstancesSetItem[]::new));
    return instances(request);
  }

  protected Stream<DescribeInstancesResponseTypeReservationSetItemInstancesSetItem> instances(DescribeInstancesType request) throws Exception {
    return Arrays.stream(port.describeInstances(request).getReservationSet()).flatMap((r) -> Arrays.stream(r.getInstancesSet()));
  }
}
