/** Security of the doors for grid clients: trust, names, authentication and TLS, kept current while the service runs. */
import type { ServerOptions } from 'node:https';
import { createGridAuthenticator, type GridAuthenticator } from './grid/authenticate.ts';
import { createGridTls, type GridTls } from './grid/tls/listener.ts';
import { openMapfile } from './grid/trust/mapfile.ts';
import { openTrustDirectory } from './grid/trust/directory.ts';
import type { Manager } from './manager/types.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { startStep } from './platform/errors.ts';

export interface GridSecurity {
  readonly authenticator: GridAuthenticator;
  /** A listener's TLS side; `legacy`: for clients that know TLS 1.0 to 1.2 only. */
  tls(legacy: boolean, http?: ServerOptions): Promise<GridTls>;
}

/** @throws StartError */
export async function openGridSecurity(
  ctx: Context, config: Config['grid'], manager: Pick<Manager, 'credentials' | 'signatures'>, onStop: (what: string, step: () => void) => void,
): Promise<GridSecurity> {
  const trust = await startStep(`the trust directory cannot be read (grid.trust_directory = "${config.trust_directory}")`, () => openTrustDirectory(ctx, config.trust_directory));
  onStop('trust directory', () => trust.stop());
  const mapfile = config.mapfile === '' ? undefined : await startStep(`the grid-mapfile cannot be read (grid.mapfile = "${config.mapfile}")`, () => openMapfile(ctx, config.mapfile));
  onStop('grid-mapfile', () => mapfile?.stop());
  return {
    authenticator: createGridAuthenticator({
      clock: ctx.clock, trust, accounts: manager.credentials, userOf: (dn) => mapfile?.userOf(dn), use: (id, until) => manager.signatures.use(id, until),
      rules: { skewMs: config.clock_skew * 1000, crl: config.crl, signingPolicy: config.signing_policy, sha1: config.sha1_chains, sha1Messages: config.sha1_messages },
    }),
    async tls(legacy, http) {
      const tls = await createGridTls(ctx, { certificate: config.tls_certificate, key: config.tls_key, legacy }, http);
      onStop('host certificate', () => tls.stop());
      return tls;
    },
  };
}
