import type { Readable } from 'node:stream';
import { z } from 'zod';
import { noZip, uploadTooLarge } from '../../functions/uploads.ts';
import type { Api } from '../api.ts';
import type { AuditEntry } from '../audit.ts';
import { beforeAndAfter, deploymentView } from '../deployment-view.ts';
import type { RouteDeps } from '../deps.ts';
import { documented } from '../openapi.ts';
import { deploymentSchema, errorResponses, functionNameSchema } from '../schemas.ts';

const params = z.object({ name: functionNameSchema });
const served = { 'application/json': { schema: deploymentSchema } };

const schema = {
  summary: 'Upload a function into the code source, and serve it',
  description:
    'The body is the zip itself, of any content type. It is checked completely first: a bad zip or manifest changes nothing. Then it is stored in the code source and made ready as every redeploy is; the reply comes when it serves. If it does not build or load, the reply is that error with `Stored: true` in `Details`, and the version that served before goes on.',
  tags: ['functions'],
  consumes: ['application/zip'],
  params,
  body: z.any().meta({ type: 'string', format: 'binary', description: 'The zip.' }),
  response: {
    200: { description: 'It serves in the place of another version.', content: served },
    201: { description: 'It serves; there was no function of this name.', content: served },
    ...errorResponses(
      'invalid_function',
      'read_only_source',
      'conflict',
      'build_failed',
      'init_failed',
      'out_of_memory',
      'too_many_requests',
      'node_overloaded',
      'engine_unavailable',
      'code_source_error',
      'init_timeout',
      'build_timeout',
      'storage_full',
    ),
  },
};

export function uploadRoute(app: Api, deps: Pick<RouteDeps, 'deployments' | 'uploadLimit' | 'audited'>): void {
  const { deployments, uploadLimit } = deps;
  app.route({
    method: 'PUT',
    url: '/functions/:name',
    schema: { params },
    config: { ...documented(schema), needs: 'admin', streamed: true },
    onRequest(request, _reply, done) {
      // A zip is a zip whatever the header says; without it Fastify does not judge it either.
      delete request.raw.headers['content-type'];
      done();
    },
    async handler(request, reply) {
      const { name } = request.params;
      request.facts.useFunction(name);
      deployments.checkWritable();
      if (Number(request.headers['content-length']) > uploadLimit) throw uploadTooLarge(uploadLimit);
      const body = request.body as Readable | undefined;
      if (body === undefined) throw noZip();
      // Destroying what has not come yet would take the connection, and the reply, with it.
      const zip = body.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
      try {
        const entry: AuditEntry = { action: 'upload', function: name };
        const deployment = await deps.audited(request, entry, async () => {
          const done = await deployments.upload(name, zip, { signal: request.facts.signal });
          Object.assign(entry, beforeAndAfter(done));
          return done;
        });
        return await reply.code(deployment.created ? 201 : 200).send(deploymentView(deployment));
      } finally {
        body.resume();
      }
    },
  });
}
