import type { Language } from '../function-table.ts';

/** What has to come of an attempt: the very thing, or a refusal. */
export type Expected = RegExp | string | number | boolean | readonly unknown[] | { readonly [name: string]: unknown };

/** The kernel's words for no. */
export const REFUSED = /^(EPERM|EACCES|EROFS|EXDEV|ENOENT|ECONNREFUSED|ENOSYS)$/;

const NOBODY = ['10001', '10001', '10001', '10001'];

const names = (area: string, ...attempts: string[]) =>
  Object.fromEntries(attempts.map((name) => [`${area}: ${name}`, REFUSED]));

const ALL_WAYS = ['memory file', 'environment', 'map', 'descriptors', 'root folder'];
const TRACER_WAYS = ['ptrace', 'ptrace without a stop', 'read', 'write', 'descriptor', 'program'];
const ways = (list: readonly string[], outcome: unknown) => Object.fromEntries(list.map((name) => [name, outcome]));

/** Attempts that need nothing of the language. */
const EVERYWHERE: Record<string, Expected> = {
  ...names('code', 'append'),
  ...names('runtime', 'append'),
  ...names('channel', 'dial the daemon', 'new file'),
  'memory: of init': ways(ALL_WAYS, REFUSED),
  "memory: of the runtime's other processes": {},
};

/** `mark` is that of the other function, which has left it in its code, environment, memory and `/tmp`. */
export const ATTEMPTS: Record<Language, Record<string, Expected>> = {
  python: {
    ...EVERYWHERE,
    ...names('root', 'setuid', 'seteuid', 'setresuid', 'setgid', 'setgroups'),
    'root: a set-id program': NOBODY,
    // No capability of any kind, no new one by a program, no other user or group.
    'capabilities: held': [{}, '1', NOBODY, NOBODY, ['10001']],
    ...names('capabilities', 'capset', 'ambient', 'chroot', 'mount', 'remount', 'umount', 'pivot_root', 'setns'),
    ...names('capabilities', 'user namespace', 'mount namespace', 'process namespace', 'network namespace'),
    ...names('capabilities', 'memory device', 'disk device', 'bpf', 'perf', 'keyctl', 'add_key', 'kernel module'),
    ...names('capabilities', 'userfaultfd', 'file handles', 'kernel log', 'host name', 'clock', 'accounting', 'swap'),
    ...names('capabilities', 'real-time', 'priority', 'limits', 'raw socket', 'packet socket'),
    ...names('capabilities', "shield from the kernel's choice"),
    'files: folders that can be written to': ['/dev/mqueue', '/dev/shm', '/tmp'],
    'files: files that can be written to': [],
    ...names('files', "a host's core pattern", "kernel's keys"),
    ...names('code', 'reopen for writing', 'shared memory', 'remove', 'rename', 'replace', 'hard link', 'mode'),
    ...names('code', 'owner', 'attribute', 'time', 'remove all'),
    ...names('runtime', 'replace init'),
    ...names('channel', "listen in the daemon's place", 'new folder', 'change the settings', 'remove the settings'),
    ...names('channel', 'rename the settings', 'mode of the folder'),
    'channel: settings': ['orphanTimeout', 'protocol', 'sandbox'],
    'channel: descriptors': { '0': '/dev/null', '1': 'pipe', '2': 'pipe', '3': 'socket' },
    'sockets: in the file system': [],
    ...names('sockets', 'Docker', "Docker's other place", 'containerd', 'Docker by TCP'),
    'memory: of init': ways([...ALL_WAYS, ...TRACER_WAYS], REFUSED),
    'neighbours: find a mark': [],
    'neighbours: mounts': [],
    'processes: of others': [],
    'processes: few': true,
    'processes: the first': '/opt/worker-front/init',
  },
  node: { ...EVERYWHERE, ...names('root', 'setuid', 'setgroups') },
  java: EVERYWHERE,
};

/** What succeeds: it shows that attempts of the same kind would, were there no wall. */
export const CONTROLS: Record<string, Expected> = {
  'memory: of a child of its own': {
    ...ways([...ALL_WAYS, 'ptrace', 'ptrace without a stop', 'program'], 'done'),
    ...ways(['read', 'write', 'descriptor'], REFUSED),
  },
  'neighbours: leave a mark': 'done',
};

/** Of an image of the function's own. */
export const OWN_IMAGE_ATTEMPTS: Record<string, Expected> = {
  'root: a set-id program of its own image': ['-rwsr-xr-x', '10001', '0000000000000000'],
  'root: a program with capabilities of its own image': REFUSED,
};

export interface Deed {
  what: string;
  event: Record<string, unknown> & { do: string };
  /** `ok`, or the error's code. */
  code: RegExp;
  result?: unknown;
  /** It does not end by itself: the function has a time limit of a few seconds. */
  endless?: true;
  /** Not with `shared`, where what a call leaves is there for the next. */
  unshared?: true;
}

const frame = (what: string, header: object, more: object = {}): Deed => ({
  what,
  event: { do: 'frame', header, ...more },
  code: /^handler_crashed$/,
});
const result = (text: string): Deed => ({
  what: `answers ${JSON.stringify(text)}`,
  event: { do: 'raw-result', text },
  code: /^invalid_response$/,
});

/**
 * What takes as much as it can, breaks what it has got, or does not want to end; the next call is fine each time. Those that
 * are endless stand far from each other: they are calls of the same functions, which have one at a time.
 */
export const DEEDS: readonly Deed[] = [
  { what: 'forks without end', event: { do: 'bomb' }, code: /^function_timeout$/, endless: true },
  { what: 'leaves such processes and answers', event: { do: 'left' }, code: /^ok$/, unshared: true },
  { what: 'prints ten million lines', event: { do: 'lines', lines: 10_000_000 }, code: /^ok$/, result: 'printed' },
  { what: 'prints single bytes', event: { do: 'drip', seconds: 1 }, code: /^ok$/, result: 'dripped' },
  { what: 'dials the daemon again and again', event: { do: 'dial', seconds: 1 }, code: /^ok$/, result: 0 },
  { what: 'fills /tmp with small files', event: { do: 'files', seconds: 1 }, code: /^(ok|out_of_memory)$/ },
  { what: 'sends init every signal', event: { do: 'signals' }, code: /^ok$/, result: 'sent' },
  { what: 'stops the processes that wait for calls', event: { do: 'freeze' }, code: /^ok$/, result: 'frozen' },
  {
    what: 'leaves processes that are deaf, stopped and nobody’s, and never answers',
    event: { do: 'deaf' },
    code: /^function_timeout$/,
    endless: true,
  },
  { what: 'takes the limits of init away', event: { do: 'starve' }, code: /^(ok|sandbox_lost|handler_crashed)$/ },
  { what: 'answers twice', event: { do: 'done-twice' }, code: /^ok$/, result: 'first' },
  result('1,"Error":true'),
  result('1}'),
  result('{"a":1'),
  result('NaN'),
  result(''),
  { what: 'answers without end', event: { do: 'endless-result' }, code: /^function_timeout$/, endless: true },
  frame('answers another call', { type: 'done', id: 'another', durationMs: 1 }, { body: '1' }),
  frame('says hello for another sandbox', { type: 'hello', protocol: 1, sandbox: 'other', token: 'x', used: false }),
  frame('starts a call', { type: 'start', deadlineMs: 1 }, { body: '{}' }),
  frame('says goodbye for init', { type: 'bye', reason: 'x' }),
  frame('announces a body of 4 GB', { type: 'done', durationMs: 1 }, { length: 2 ** 32 - 1 }),
  { what: 'announces a header of 4 GB', event: { do: 'huge' }, code: /^handler_crashed$/ },
  { what: 'closes its link', event: { do: 'close' }, code: /^handler_crashed$/ },
];

/** Frames that are sent while the handler is loaded. */
export const EARLY = ['done', 'ready', 'hello', 'huge'] as const;

/** What a neighbour is called beside, over and over; each call takes a second or so. */
export const NOISES: readonly (Deed['event'] & { many?: true })[] = [
  { do: 'dial', seconds: 1 },
  { do: 'drip', seconds: 1 },
  { do: 'lines', lines: 10_000_000 },
  { do: 'endless-frames', seconds: 1, many: true },
  { do: 'brackets' },
];
