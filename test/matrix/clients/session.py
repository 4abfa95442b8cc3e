"""The session that every client plays: what is done, and in which order. How is said by the client's own script.

usage: SCRIPT session|guest ENDPOINT IMAGE ROW KEYFILE [SIGNATURE]      credentials and INSTANCE_TYPE are in the environment
Prints a JSON line for each step, and for each refusal as the client shows it. `guest` is one instance that can be entered.
"""
import json
import os
import sys
import time

MODE, ENDPOINT, IMAGE, ROW, KEY_FILE = sys.argv[1:6]
INSTANCE_TYPE = os.environ['INSTANCE_TYPE']
SIGNATURE = sys.argv[6] if len(sys.argv) > 6 else None
USER_DATA = 'user data of %s\n' % ROW
WAIT_S = 240


class NotOffered(Exception):
    """The client has no such thing; the text says why."""


def until(check, seconds=WAIT_S):
    """What `check` gives as soon as it gives something."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise SystemExit('nothing after %d s' % seconds)
        time.sleep(0.25)


def say(**line):
    print(json.dumps(line), flush=True)


def play(client, wrong):
    """`client` has a method for each step; `wrong` is one with another's secret."""
    say(version=client.version)
    how = getattr(client, 'how', {})

    def step(name, do, *args):
        try:
            saw = do(*args)
        except NotOffered as e:
            say(step=name, missing=str(e))
            return None
        say(step=name, saw=saw, **({'how': how[name]} if name in how else {}))
        return saw

    def refusal(name, do, *args):
        try:
            do(*args)
        except NotOffered as e:
            say(refusal=name, missing=str(e))
        except Exception as e:
            say(refusal=name, **client.shown(e))
        else:
            say(refusal=name, code=None)

    if MODE == 'guest':
        material = client.key_pair(ROW + ' guest')
        with open(os.open(KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as f:
            f.write(material.rstrip('\n') + '\n')
        ids = client.run(IMAGE, 1, ROW + ' guest', USER_DATA)
        client.wait(ids, 'running')
        step('way in', lambda: dict(client.way_in(ids[0]), id=ids[0], userData=USER_DATA))
        sys.stdin.read()
        client.terminate(ids)
        client.wait(ids, 'terminated')
        return

    tag = ROW + ' é+~/ 1'
    step('images', client.images)
    step('key pair', client.key_pair, ROW)
    ids = step('run', client.run, IMAGE, 2, ROW, USER_DATA)
    step('running', client.wait, ids, 'running')
    step('console', lambda: until(lambda: (lambda said: ids[0] in said and said)(client.console(ids[0]))))
    step('tags', client.tag, ids[0], tag)
    step('filter', client.find, tag)
    step('wildcard', client.find, ROW + ' *')
    step('reboot', client.reboot, ids)
    step('terminate', client.terminate, ids)
    step('terminated', client.wait, ids, 'terminated')
    refusal('unknown instance', client.look, 'i-00000000')
    refusal('unknown image', client.run, 'ami-00000000', 1, ROW, USER_DATA)
    refusal('second key pair', client.key_pair, ROW)
    refusal('wrong secret', wrong.images)
    refusal('tried or out of range', client.try_run, IMAGE)
