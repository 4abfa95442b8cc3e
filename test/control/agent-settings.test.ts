import { expect, it } from 'vitest';
import { mergedSettings } from '../../src/control/agent-settings.ts';

it('the settings of an agent keep what the administrator added and take the service\'s own', () => {
  const given = { cacheMb: 2, qemu: { bindAddress: '0.0.0.0', reachHost: '192.0.2.7' } };
  expect(mergedSettings(undefined, given, 'f')).toEqual(given);
  expect(mergedSettings('{"cacheMb":1,"parallel":4,"qemu":{"bridges":["br0"],"reachHost":"192.0.2.6"}}', given, 'f'))
    .toEqual({ cacheMb: 2, parallel: 4, qemu: { bridges: ['br0'], bindAddress: '0.0.0.0', reachHost: '192.0.2.7' } });
});

it.each(['', 'x', '[]', 'null', '7'])('they are not guessed from a file that is no object: %j', (text) => {
  expect(() => mergedSettings(text, {}, '/n/agent.json')).toThrow('/n/agent.json is no JSON object; mend it or remove it');
});
