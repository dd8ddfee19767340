// A Fastify server that has each body answered by a fork of its own, outside of any container: what HTTP alone leaves of
// the bare forks. A process of its own; arguments: command of the program that forks (`FORKS`). Prints its address.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import Fastify from 'fastify';

const command = process.argv.slice(2);
const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
process.once('SIGTERM', () => {
  child.kill('SIGKILL');
  process.exit(0);
});
const waiting = new Map<string, (result: string) => void>();
createInterface({ input: child.stdout }).on('line', (line) => {
  const space = line.indexOf(' ');
  const id = line.slice(0, space);
  waiting.get(id)?.(line.slice(space + 1));
  waiting.delete(id);
});

const app = Fastify({ logger: false, bodyLimit: 2 ** 25 });
app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => done(null, body));
let count = 0;
app.route({
  method: ['GET', 'POST'],
  url: '/',
  async handler(request, reply) {
    const id = String(count++);
    const result = await new Promise<string>((resolve) => {
      waiting.set(id, resolve);
      child.stdin.write(`${id} ${(request.body as string | undefined) ?? '{}'}\n`);
    });
    return reply.type('application/json').send(`{"Result":${result},"ExecutionTime":0}`);
  },
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
