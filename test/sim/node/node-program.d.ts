/** The bundled text of `program.ts`; tools/sim/bundle.mjs makes it. */
declare module 'sim:node-program' {
  const text: string;
  export default text;
}
