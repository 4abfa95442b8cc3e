/** Refusals as SOAP clients of EC2 read them: `aws:Client.Code` or `aws:Server.Code`, the request's id in the detail. */
import type { Fault } from '../../lease/faults.ts';
import { SoapFault } from '../../soap/message/fault.ts';
import { SOAP_ENVELOPE } from '../../soap/names.ts';
import { escapeXml } from '../../soap/xml/escape.ts';
import type { Answer } from '../door.ts';
import type { Frame } from '../xml.ts';

const AWS_FAULT = 'http://webservices.amazon.com/AWSFault/2005-15-09';
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

export const ENVELOPE: Frame = [`${DECLARATION}<SOAP-ENV:Envelope xmlns:SOAP-ENV="${SOAP_ENVELOPE}"><SOAP-ENV:Body>`, '</SOAP-ENV:Body></SOAP-ENV:Envelope>'];

/** Whatever it is, its HTTP status is 500, as SOAP 1.1 wants it. */
export function soapRefusal(fault: Fault | SoapFault, requestId: string): Answer {
  const [code, text] = fault instanceof SoapFault ? [envelopeCode(fault), fault.message] : [`aws:${fault.http < 500 ? 'Client' : 'Server'}.${codeOf(fault)}`, fault.text];
  return {
    status: 500,
    body: ENVELOPE.join(`<SOAP-ENV:Fault xmlns:aws="${AWS_FAULT}"><faultcode>${code}</faultcode><faultstring>${escapeXml(text)}</faultstring>`
      + `<detail><aws:RequestId>${requestId}</aws:RequestId></detail></SOAP-ENV:Fault>`),
  };
}

/** The registry's code for what cannot be read is Query's. */
const codeOf = (fault: Fault): string => (fault.code === 'RequestMalformed' ? 'InvalidSOAPRequest' : fault.ec2);
/** What SOAP itself has a code for. */
const envelopeCode = ({ faultcode }: SoapFault): string => (faultcode === 'Client' ? 'aws:Client.InvalidSOAPRequest' : `SOAP-ENV:${faultcode}`);
