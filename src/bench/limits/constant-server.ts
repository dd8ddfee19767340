// The limit: a Fastify server that answers a constant, as a process of its own. Prints its address.
import Fastify from 'fastify';

const app = Fastify({ logger: false });
const reply = JSON.stringify({ Result: { statusCode: 200, body: 'ok' }, ExecutionTime: 0, InternalExecutionTime: 0 });
app.get('/', (_request, answer) => answer.type('application/json; charset=utf-8').send(reply));
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
