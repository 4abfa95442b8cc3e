/** Options that all grid commands have. */
import type { Command } from 'commander';
import { each, envOf, type CliDeps, type Env } from '../env.ts';
import { Refused, Unreachable, UsageError } from '../exit.ts';
import type { EndpointReference } from '../../soap/message/types.ts';
import { credentials } from './connection.ts';
import { called, readEpr, services, type Services } from './services.ts';

export interface WsrfOptions {
  readonly cert?: string;
  readonly key?: string;
  readonly trust?: string;
}

export const withCredentials = (command: Command): Command => command
  .option('--cert <file>', 'certificate or proxy, PEM')
  .option('--key <file>', 'its key, where the certificate file does not hold it')
  .option('--trust <dir>', 'authorities: a directory as Globus has it, or a PEM file');

export function open(command: Command, deps: CliDeps): { env: Env; grid: Services } {
  const env = envOf(command, deps);
  return { env, grid: services(credentials(command.opts<WsrfOptions>(), deps.env)) };
}

/** What each reference file names, one after the other: none stops the rest, but a site that cannot be reached when it is the only one. */
export async function eachEpr(command: Command, deps: CliDeps, eprs: readonly string[], act: (to: EndpointReference, grid: Services, env: Env) => Promise<string>): Promise<void> {
  const { env, grid } = open(command, deps);
  const sites = new Set<string>();
  await each(env, eprs, async (name) => {
    const to = readEpr(name);
    sites.add(new URL(to.address).host);
    try {
      return { what: called(to), text: await act(to, grid, env) };
    } catch (e) {
      throw e instanceof Unreachable && sites.size > 1 ? new Refused('Unreachable', e.message) : e;
    }
  }, ({ text }) => text);
}

/** `URL` may be that of any service of the site, or of its services altogether. */
export function service(url: string, name: string): EndpointReference {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw new UsageError(`"${url}" is no address of a service; write e.g. https://HOST:8443`);
  const { origin, pathname } = new URL(url);
  const path = /\/services\//.test(pathname) ? pathname.replace(/[^/]*$/, '') : '/wsrf/services/';
  return { address: `${origin}${path}${name}`, properties: [] };
}
