/** What the manager and the workers see of the control client. */
import type { NodeAccess } from '../lease/node.ts';
import type { AgentHello, AgentPhase, AgentRequest, Done, ImageRef, VmEvent } from './protocol.ts';

export type { NodeAccess };

export interface NodeRef {
  /** Id of the node's row. */
  readonly id: number;
  readonly name: string;
  readonly access: NodeAccess;
}

export type Lost = 'unreachable' | 'deadline' | 'busy';

export interface NodeCall {
  readonly nodeId: number;
  readonly requests: readonly AgentRequest[];
}

/** One per request of the group, in the order that results come in. */
export type NodeAnswer =
  | { readonly nodeId: number; readonly id: string; readonly done: Done }
  /**
   * `unreachable`, `deadline`: the request may or may not have been done; send it again with the same id when the node is back.
   * `busy`: it was not sent, as the node, which is there, has more to do than may wait for it; send it later.
   */
  | { readonly nodeId: number; readonly id: string; readonly lost: Lost; readonly reason: string };

export interface CallHandlers {
  readonly onAck?: (nodeId: number, ids: readonly string[]) => void;
  readonly onProgress?: (nodeId: number, id: string, phase: AgentPhase, at: number) => void;
  readonly onAnswer: (answer: NodeAnswer) => void;
}

export interface ChannelState {
  readonly nodeId: number;
  readonly up: boolean;
  /** Not up yet, and nothing has failed: the first attempt is under way. */
  readonly connecting: boolean;
  readonly hello: AgentHello | null;
  /** Sentence on why the channel is down; null when up. */
  readonly reason: string | null;
  /** Estimated agent clock minus service clock, ms; 0 until measured. */
  readonly clockOffsetMs: number;
}

export interface ControlClient {
  /** Declares the nodes to keep channels to; channels to others are closed. */
  setNodes(nodes: readonly NodeRef[]): void;
  state(nodeId: number): ChannelState;
  /**
   * One group operation: every node's requests leave at once, one line a node. Resolves when each request was answered or
   * lost; each has its own deadline. Images that an agent says it lacks are sent to it (once per digest and node, whoever
   * asks) and the request is repeated. Never rejects.
   */
  call(calls: readonly NodeCall[], handlers: CallHandlers): Promise<void>;
  /** One request to one node; rejects with a Fault (NodeUnreachable, NodeRefused). */
  ask(nodeId: number, request: AgentRequest): Promise<Done & { ok: true }>;
  /**
   * Tells the pilot of a borrowed node that the service needs the node no longer; resolves when it has taken that in. Rejects
   * as `ask` does, NodeRefused also where no pilot runs.
   */
  release(nodeId: number, why: string): Promise<void>;
  onState(listener: (state: ChannelState) => void): void;
  onVmEvent(listener: (nodeId: number, event: VmEvent) => void): void;
  close(): Promise<void>;
}

/** Opens the bytes of an image for a node that lacks them. */
export type ImageSource = (image: ImageRef) => AsyncIterable<Buffer>;
