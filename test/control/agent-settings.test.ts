import { describe, expect, it } from 'vitest';
import { mergedSettings, withReach } from '../../src/control/agent-settings.ts';
import { parseAgentConfig } from '../../src/control/agent/config.ts';

describe('the settings of an agent', () => {
  it('keep what the administrator added and take the service\'s own', () => {
    expect(mergedSettings(undefined, { cacheMb: 1 }, 'f')).toEqual({ cacheMb: 1 });
    expect(mergedSettings('{"cacheMb":1,"parallel":4}', { cacheMb: 2 }, 'f')).toEqual({ cacheMb: 2, parallel: 4 });
  });

  it.each(['', 'x', '[]', 'null', '7'])('are not guessed from a file that is no object: %j', (text) => {
    expect(() => mergedSettings(text, {}, '/n/agent.json')).toThrow('/n/agent.json is no JSON object; mend it or remove it');
  });

  it.each(['node7.example.org', '192.0.2.7', 'n7'])('open the ports of guests on another machine, %s, and name it to users', (host) => {
    const settings = withReach({ cacheMb: 1 }, host);
    expect(settings).toEqual({ cacheMb: 1, qemu: { bindAddress: '0.0.0.0', reachHost: host } });
    expect(parseAgentConfig(settings).qemu).toEqual(settings['qemu']);
  });

  it.each(['127.0.0.1', '127.0.0.2', 'localhost', '::1', 'fe80::1'])('leave the ports on the loopback for %s', (host) => {
    expect(withReach({ cacheMb: 1 }, host)).toEqual({ cacheMb: 1 });
  });

  it('leave the administrator\'s own choice alone', () => {
    const own = { qemu: { bindAddress: '192.0.2.7', reachHost: 'gate.example.org' } };
    expect(withReach(own, 'node7')).toEqual(own);
  });
});
