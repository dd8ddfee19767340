// L2: a Fastify server that forwards each body as one frame over one Unix socket to the same bootstrap outside of any
// container, and its answer back. A process of its own; arguments: path of the socket, command of the bootstrap. Prints its
// address.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import Fastify from 'fastify';
import { encodeFrame, FrameDecoder } from '../../channel/frames.ts';
import { loadFrame } from './bootstrap.ts';

const [socketPath = '', ...command] = process.argv.slice(2);
const waiting = new Map<string, (body: Buffer) => void>();
const server = createServer().listen(socketPath);
await once(server, 'listening');
const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
process.once('SIGTERM', () => {
  child.kill('SIGKILL');
  process.exit(0);
});
const [socket] = (await once(server, 'connection')) as [Socket];
const ready = new Promise<void>((resolve) => {
  const decoder = new FrameDecoder((header, body) => {
    const type = header['type'];
    if (type === 'hello') send(loadFrame('shared'));
    else if (type === 'ready') resolve();
    else if (type === 'done') {
      const id = String(header['id']);
      waiting.get(id)?.(Buffer.from(body));
      waiting.delete(id);
    }
  });
  socket.on('data', (chunk: Buffer) => decoder.push(chunk));
});

function send(header: object, body?: Buffer): void {
  for (const piece of encodeFrame(header, body)) socket.write(piece);
}

await ready;
const app = Fastify({ logger: false, bodyLimit: 2 ** 25 });
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
let count = 0;
const queue: (() => void)[] = [];
let busy = false;
// One call at a time, as the sandbox takes them.
const turn = () => new Promise<void>((resolve) => (busy ? queue.push(resolve) : ((busy = true), resolve())));
const next = () => {
  const first = queue.shift();
  if (first) first();
  else busy = false;
};
const head = Buffer.from('{"Result":');
const tail = Buffer.from(',"ExecutionTime":0}');
app.route({
  method: ['GET', 'POST'],
  url: '/',
  async handler(request, reply) {
    const event = (request.body as Buffer | undefined) ?? Buffer.from('{}');
    await turn();
    const id = String(count++);
    const result = await new Promise<Buffer>((resolve) => {
      waiting.set(id, resolve);
      send({ type: 'start', id, deadlineMs: 10_000, requestId: null }, event);
    });
    next();
    return reply.type('application/json').send(Buffer.concat([head, result, tail]));
  },
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
