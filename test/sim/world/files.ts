/** The files of Emscripten's file system in memory, as they are at one moment, to be put back. What is written meanwhile is written to copies. */

interface Node {
  name_next?: Node;
  /** Of a directory: what is in it. */
  contents?: Uint8Array | Record<string, Node>;
}
interface Stream {
  readonly node: Node;
  readonly shared: object;
}
type Write = (stream: Stream, ...rest: unknown[]) => number;
export interface FileSystem {
  readonly FS: { readonly nameTable: Array<Node | undefined>; readonly streams: Array<Stream | null>; nextInode: number };
  readonly MEMFS: { readonly ops_table: { readonly file: { readonly stream: { write: Write } } } };
}

function nodesOf(table: ReadonlyArray<Node | undefined>): Node[] {
  const nodes: Node[] = [];
  for (const first of table) for (let node = first; node !== undefined; node = node.name_next) nodes.push(node);
  return nodes;
}

const isFile = (contents: Node['contents']): contents is Uint8Array => ArrayBuffer.isView(contents);

/** @returns what puts all of them back, and the open ones with their positions */
export function filesOf({ FS, MEMFS }: FileSystem): () => void {
  const { nextInode } = FS;
  const table = [...FS.nameTable];
  const nodes = nodesOf(table).map((node) => ({ node, was: { ...node }, entries: node.contents === undefined || isFile(node.contents) ? undefined : { ...node.contents } }));
  const streams = FS.streams.map((stream) => stream && { stream, was: { ...stream }, shared: { ...stream.shared } });
  const kept = new Set(nodes.map(({ node }) => node.contents).filter((contents) => isFile(contents) && contents.length > 0));
  const operations = MEMFS.ops_table.file.stream;
  const { write } = operations;
  operations.write = (stream, ...rest) => {
    const { node } = stream;
    if (kept.has(node.contents)) node.contents = (node.contents as Uint8Array).slice();
    return write(stream, ...rest);
  };
  return () => {
    FS.nextInode = nextInode;
    FS.nameTable.splice(0, Infinity, ...table);
    for (const { node, was, entries } of nodes) Object.assign(node, { name_next: undefined }, was, entries && { contents: { ...entries } });
    FS.streams.splice(0, Infinity, ...streams.map((s) => s && Object.assign(s.stream, s.was, { shared: Object.assign(s.stream.shared, s.shared) })));
  };
}
