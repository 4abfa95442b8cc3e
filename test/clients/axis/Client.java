/** A client of Axis 1 by the classes that WSDL2Java has made: lists the user's workspaces, pauses one, looks at it, destroys it, and hears that it is gone. */
import java.net.URL;
import javax.xml.namespace.QName;
import org.apache.axis.client.Stub;
import org.apache.axis.message.SOAPHeaderElement;
import org.globus.www._2008._06.workspace.WorkspacePortType;
import org.globus.www._2008._06.workspace.service.WorkspaceServiceLocator;
import org.globus.www._2008._06.workspace.status.OneCurrentWorkspace_Type;
import org.globus.www._2008._06.workspace.status.VoidType;
import org.globus.www._2008._06.workspace.status.WorkspaceStatusPortType;
import org.globus.www._2008._06.workspace.status.service.WorkspaceStatusServiceLocator;
import org.globus.www._2008._06.workspace.types.ShutdownEnumeration;
import org.globus.www._2008._06.workspace.types.WorkspaceShutdownRequest_Type;
import org.oasis_open.docs.wsrf._2004._06.wsrf_WS_ResourceLifetime_1_2_draft_01_xsd.Destroy;
import org.oasis_open.docs.wsrf._2004._06.wsrf_WS_ResourceLifetime_1_2_draft_01_xsd.ResourceUnknownFaultType;

public class Client {
  public static void main(String[] args) throws Exception {
    String base = args[0];
    String key = args[1];
    WorkspaceStatusPortType status = new WorkspaceStatusServiceLocator().getWorkspaceStatusPortTypePort(new URL(base + "WorkspaceStatusService"));
    OneCurrentWorkspace_Type[] all = status.queryCurrentWorkspaces(new VoidType());
    System.out.println("workspaces " + (all == null ? 0 : all.length));

    WorkspacePortType port = new WorkspaceServiceLocator().getWorkspacePortTypePort(new URL(base + "WorkspaceService"));
    SOAPHeaderElement header = new SOAPHeaderElement("http://www.globus.org/2008/06/workspace", "WorkspaceKey");
    header.addTextNode(key);
    ((Stub) port).setHeader(header);
    WorkspaceShutdownRequest_Type pause = new WorkspaceShutdownRequest_Type();
    pause.setShutdownType(ShutdownEnumeration.Pause);
    port.shutdown(pause);
    String state = "";
    for (int i = 0; i < 200 && !state.contains("Paused"); i++) {
      state = port.getResourceProperty(new QName("http://www.globus.org/2008/06/workspace/types", "currentState")).get_any()[0].getAsString();
    }
    System.out.println("state " + state.replaceAll("<[^>]*>", "").trim());
    port.destroy(new Destroy());
    try {
      port.destroy(new Destroy());
      System.out.println("destroyed twice");
    } catch (ResourceUnknownFaultType fault) {
      System.out.println("then " + fault.getDescription()[0].get_value());
    }
  }
}
