import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { resolversIn } from '../../src/network/machine.ts';

/** Addresses outside of this machine, all in one network namespace behind a cable; each answers on ports 80 and 5432. */
export interface Outside extends AsyncDisposable {
  /** This machine's end of the cable. */
  here: string;
  /** In a network that this machine is attached to, and that is not private. */
  neighbour: string;
  /** In a private network elsewhere. Also a name server that gives `internet` for every name. */
  private: string;
  /** Neither. */
  internet: string;
  /** Link-local: where clouds have their metadata service, unless this machine needs that one itself. */
  metadata: string;
}

const HERE = '198.51.100.1';
const NEIGHBOUR = '198.51.100.2';
const PRIVATE = '10.77.0.5';
const INTERNET = '198.51.100.200';

/** Runs in the namespace: greets on two ports, answers every question for a name. */
const SERVER = `
const net = require('node:net'), dgram = require('node:dgram');
const ports = [80, 5432];
let left = ports.length + 1;
const up = () => { if (--left === 0) console.log('up'); };
process.stdin.once('data', () => {
  for (const port of ports) net.createServer((socket) => { socket.on('error', () => {}); socket.end('hello'); }).listen(port, '0.0.0.0', up);
  names.bind(53, '${PRIVATE}', up);
});
const names = dgram.createSocket('udp4');
names.on('message', (query, from) => {
  let end = 12;
  while (query[end] !== 0) end += query[end] + 1;
  const question = query.subarray(12, end + 5);
  const isA = query.readUInt16BE(end + 1) === 1;
  const head = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...'${INTERNET}'.split('.').map(Number)]);
  names.send(Buffer.concat([head, question, ...(isA ? [answer] : [])]), from.port, from.address);
});
process.stdin.on('end', () => process.exit());
console.log('made');
`;

/** Needs root. Everything is gone with the process that it starts, also when this one is killed. */
export async function outside(): Promise<Outside> {
  const metadata = resolversIn(readFileSync('/etc/resolv.conf', 'utf8')).some((address) =>
    address.startsWith('169.254.'),
  )
    ? '169.254.170.2'
    : '169.254.169.254';
  const world: ChildProcess = spawn('unshare', ['--net', process.execPath, '-e', SERVER], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(world, 'exit');
  await Promise.race([
    once(world.stdout!, 'data'),
    exited.then(() => Promise.reject(new Error('a network namespace needs root'))),
  ]);
  const close = async () => {
    world.stdin?.end();
    await exited;
  };
  const cable = `wft${process.pid}`;
  const far = [PRIVATE, INTERNET, metadata];
  const inside = ['nsenter', `--net=/proc/${world.pid}/ns/net`];
  try {
    // The near end goes with the far one, and the routes with it.
    await run('ip', 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'far', 'netns', String(world.pid));
    await run('ip', 'address', 'add', `${HERE}/25`, 'dev', cable);
    await run('ip', 'link', 'set', cable, 'up');
    await run(...inside, 'ip', 'link', 'set', 'lo', 'up');
    await run(...inside, 'ip', 'address', 'add', `${NEIGHBOUR}/25`, 'dev', 'far');
    await run(...inside, 'ip', 'link', 'set', 'far', 'up');
    await run(...inside, 'ip', 'route', 'add', 'default', 'via', HERE);
    for (const address of far) {
      await run(...inside, 'ip', 'address', 'add', `${address}/32`, 'dev', 'lo');
      await run('ip', 'route', 'add', `${address}/32`, 'via', NEIGHBOUR, 'dev', cable);
    }
    world.stdin?.write('addresses are there\n');
    await once(world.stdout!, 'data');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    here: HERE,
    neighbour: NEIGHBOUR,
    private: PRIVATE,
    internet: INTERNET,
    metadata,
    [Symbol.asyncDispose]: close,
  };
}

async function run(...[program = '', ...args]: string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const words: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => words.push(chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${words.join('')}`);
}
