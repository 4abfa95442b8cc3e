/** How a VMM node's agent is reached. */
export type NodeAccess =
  | {
      readonly transport: 'local';
      readonly stateDir: string;
      /** The machine that it is on; absent where it was made before that was written. */
      readonly machine?: string;
      readonly driver: 'auto' | 'qemu' | 'simulated';
      readonly agentConfig?: Readonly<Record<string, unknown>>;
    }
  | { readonly transport: 'ssh'; readonly host: string; readonly port: number; readonly user: string; readonly hostKey: string }
  | {
      /** A borrowed node over SSH: the agent that its slot's pilot runs. Any of `hostKeys` may answer. */
      readonly transport: 'slot-ssh';
      readonly slot: string; readonly host: string; readonly port: number; readonly user: string;
      readonly hostKeys: readonly string[]; readonly stateDir: string;
    }
  /** A borrowed node on the channel that its slot's pilot opens to the service. */
  | { readonly transport: 'pilot'; readonly slot: string; readonly host: string; readonly pilot: string };
