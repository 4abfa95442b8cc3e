/** The codec of a schema: finds the declaration, then decodes or encodes by its type. */
import { Fault } from '../../lease/faults.ts';
import { qname, type Clark } from '../names.ts';
import type { Codec } from './codec.ts';
import { decodeElement } from './decode.ts';
import { encodeElement } from './encode.ts';
import type { ElementDeclaration, Schema, Type } from './model.ts';

export function createCodec(schema: Schema): Codec {
  const declaration = (name: Clark): ElementDeclaration => {
    const found = schema.elements.get(name);
    if (found === undefined) throw new TypeError(`the schema has no element ${name}`);
    return found;
  };
  const type = (name: Clark): Type => {
    const found = schema.types.get(name);
    if (found === undefined) throw new TypeError(`the schema has no type ${name}`);
    return found;
  };
  return {
    declares: (name) => schema.elements.has(name),
    decode(element, options = {}) {
      const found = schema.elements.get(element.name);
      if (found === undefined) throw new Fault('RequestMalformed', `The element ${element.name} is not known here.`);
      return decodeElement(schema, found.type, found.nillable, element, options.strict === true);
    },
    decodeAs: (name, element, options = {}) => decodeElement(schema, type(name), true, element, options.strict === true),
    encode(name, value) {
      const found = declaration(name);
      return encodeElement(schema, found, found.type, found.nillable, value);
    },
    encodeAs: (name, element, value) => encodeElement(schema, qname(element), type(name), true, value),
  };
}
