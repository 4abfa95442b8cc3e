/** The text is no value of the type; `message` says why, for a sentence after the element's name. */
export class NoSuchValue extends Error {
  override readonly name = 'NoSuchValue';
}

export const wrong = (text: string, what: string): NoSuchValue => new NoSuchValue(`${shown(text)} is no ${what}`);
export const shown = (text: string): string => `"${text.length > 60 ? `${text.slice(0, 60)}…` : text}"`;
