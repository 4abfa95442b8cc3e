declare module 'pg/lib/utils.js' {
  /** A value as the text that the server reads. */
  export function prepareValue(value: unknown): Buffer | string | null;
}
