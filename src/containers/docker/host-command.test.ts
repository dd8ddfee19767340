import { expect, it } from 'vitest';
import { engineAt, serve, unavailable } from '../../../test/conformance/engine-server.ts';

it('a container that an engine kept when it went away is removed with the next command', async () => {
  const there = new Set<string>();
  let made = 0;
  let goesAway = true;
  const { connection } = await serve((request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    request.resume().once('end', () => {
      if (path.endsWith('/containers/create')) {
        const id = `c${made++}`;
        there.add(id);
        response.writeHead(201).end(JSON.stringify({ Id: id }));
      } else if (goesAway) {
        request.socket.destroy();
      } else if (request.method === 'DELETE') {
        const id = path.split('/').at(-1) ?? '';
        response.writeHead(there.delete(id) ? 204 : 404).end('{}');
      } else if (path.endsWith('/wait')) {
        response.end('{"StatusCode":0}');
      } else {
        response.end();
      }
    });
  });
  const engine = engineAt(connection);
  const command = { image: 'tools', command: ['true'], labels: {}, maxOutputBytes: 100 };
  await unavailable(engine.runOnHostNetwork(command));
  expect([...there]).toEqual(['c0']);
  goesAway = false;
  expect(await engine.runOnHostNetwork(command)).toMatchObject({ exitCode: 0 });
  expect([...there]).toEqual([]);
});
