export const HELP = `workspace-pilot: makes room for virtual machines on a node of a batch system, and gives the node back

  workspace-pilot --reserveslot --memory MB --duration S --graceperiod S --slotid ID
                  [--credentials FILE|- | --contact CONTACT] [--part N] [--configpath FILE] [--evaluate]
      take MB from the host, tell the service, run an agent for it, give everything back after S seconds, or when the
      service, SIGTERM or SIGINT says so
  workspace-pilot --killnine [--configpath FILE]      end every guest of this node, give its memory back to the host
  workspace-pilot --recover [--slotid ID] [--configpath FILE]
                                                      undo what pilots that were killed have left on this node
  workspace-pilot control [--state DIR] [--configpath FILE]
                                                      connect standard input and output with the agent of a pilot; without
                                                      DIR as the forced command of an SSH key: the client names it
  workspace-pilot --version

Options:
  -r, --reserveslot        -k, --killnine
  -m, --memory MB          what VMs shall be able to use
  -d, --duration S         life of this pilot, from its start
  -g, --graceperiod S      what the batch system leaves between SIGTERM and SIGKILL
  -i, --slotid ID          said in every message; the log file is called after it
  -c, --contact CONTACT    http://HOST:PORT, [USER@]HOST:PORT/PATH (SSH), or both, joined by +++: the service of an
                           original installation; account and secret are in [http] of the configuration
      --credentials FILE   the paper that the service gave with the job: a file of mode 0600; - = one line on standard input
      --part N             which part of a job with unlike nodes, from 0
  -p, --configpath FILE    configuration in the place of the built-in one
  -e, --evaluate           look whether everything is there, change nothing
  -q, --quiet              log errors only
  -v, --verbose            log more;  -t, --trace: log everything
  -s, --stdoutlog          log to standard output too
  -h, --help               --version

Exit codes: 0 done, 1 arguments, 2 configuration, 3 environment, 4 failed, 5 ended by a signal and everything given
back, 6 ended by a signal and something is left, 42 internal.

Examples:
  workspace-pilot -r -m 2048 -d 3600 -g 30 -i sl-0123456789ab -p /etc/nimbus/pilot.conf --evaluate
  workspace-pilot -r -m 2048 -d 3600 -g 30 -i sl-0123456789ab --credentials ~/slot.json
  sudo workspace-pilot --killnine -s
  workspace-pilot --recover            (in the batch system's epilogue, and at boot)
`;
