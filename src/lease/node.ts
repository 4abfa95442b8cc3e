/** How a VMM node's agent is reached. */
export type NodeAccess =
  | {
      readonly transport: 'local';
      readonly stateDir: string;
      readonly driver: 'auto' | 'qemu' | 'simulated';
      readonly agentConfig?: Readonly<Record<string, unknown>>;
    }
  | { readonly transport: 'ssh'; readonly host: string; readonly port: number; readonly user: string; readonly hostKey: string };
