/** The SOAP form of every action that one of the four versions has and this service may have, by the action's name. */
import type { SoapForms } from '../shapes.ts';
import { imageForms } from './images.ts';
import { instanceForms } from './instances.ts';
import { keyAndTagForms } from './keys-and-tags.ts';
import { siteForms } from './site.ts';
import { spotForms } from './spot.ts';

export const SOAP_FORMS: SoapForms = { ...instanceForms, ...imageForms, ...keyAndTagForms, ...siteForms, ...spotForms };
