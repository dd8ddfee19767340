import { z } from 'zod';
import type { FunctionDetail } from '../../functions/catalog.ts';
import type { Manifest } from '../../functions/manifest.ts';
import type { Api } from '../api.ts';
import type { FunctionSandboxes, HttpDeps } from '../deps.ts';
import { shownError } from '../error-reply.ts';
import { errorResponses, functionDetailSchema, functionNameSchema } from '../schemas.ts';
import { summaryView } from './functions.ts';

const schema = {
  summary: 'Inspect one function and its versions',
  tags: ['functions'],
  params: z.object({ name: functionNameSchema }),
  response: {
    200: { description: 'The function.', content: { 'application/json': { schema: functionDetailSchema } } },
    ...errorResponses('function_not_found', 'code_source_error'),
  },
};

export function functionRoute(app: Api, deps: Pick<HttpDeps, 'functions' | 'sandboxes'>): void {
  app.route({
    method: 'GET',
    url: '/functions/:name',
    schema,
    config: { needs: 'read' },
    async handler(request) {
      const { name } = request.params;
      request.facts.useFunction(name);
      const detail = await deps.functions.inspect(name, { signal: request.facts.signal });
      return detailView(detail, deps.sandboxes(name));
    },
  });
}

function detailView(detail: FunctionDetail, { byState, waiting }: FunctionSandboxes) {
  return {
    ...summaryView(detail),
    Manifest: detail.manifest ? manifestView(detail.manifest) : null,
    Versions: detail.versions.map((version) => ({
      Version: version.version,
      Current: version.current,
      Bytes: version.bytes,
      Tag: version.tag,
      ImageBuilt: version.imageBuilt,
    })),
    Sandboxes: byState,
    Waiting: waiting,
    Problem: detail.problem ? shownError(detail.problem) : null,
  };
}

/** Values of `env` are often secrets; only their names are shown. */
function manifestView(manifest: Manifest) {
  return {
    Environment: manifest.environment,
    Handler: manifest.handler ?? null,
    Isolation: manifest.isolation ?? null,
    Concurrency: manifest.concurrency ?? null,
    MaxSandboxes: manifest.maxSandboxes ?? null,
    Timeout: manifest.timeout ?? null,
    CancelOnDisconnect: manifest.cancelOnDisconnect ?? null,
    Memory: manifest.memoryBytes ?? null,
    Cpus: manifest.cpus ?? null,
    EnvNames: [...Object.keys(manifest.env ?? {}), ...Object.keys(manifest.secrets ?? {})],
    Network: manifest.network ?? null,
    Runtime: manifest.runtime ?? null,
    Prewarm: manifest.prewarm ?? null,
  };
}
