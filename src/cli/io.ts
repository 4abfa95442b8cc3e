/** Where the command writes and how wide that is; tests give their own. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** Columns of the terminal that `out` is; 80 when it is none. */
  readonly width: number;
  /** A person watches `err`: progress may be shown there. */
  readonly watched: boolean;
  /** True when nobody reads `out` any more. */
  readonly gone?: () => boolean;
  /** One line from the person; null when none is there to ask. */
  ask(question: string): Promise<string | null>;
}

/** Nothing that others named (descriptions, reasons, error texts) may steer the terminal. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '?').replace(/[\n\t]/g, ' ');
}
