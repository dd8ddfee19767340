import { z } from 'zod';
import { ANY_METHOD, type Api } from '../api.ts';
import type { RouteDeps } from '../deps.ts';
import { errorResponses } from '../schemas.ts';

const TRUE = /^(true|1|yes|on)$/i;

const schema = {
  summary: "Remove this node's idle sandboxes and, if asked, images and bundles",
  description: 'Calls in flight finish.',
  tags: ['node'],
  querystring: z.object({
    reset_images: z
      .string()
      .regex(/^(true|1|yes|on|false|0|no|off|)$/i, { error: 'must be true or false' })
      .default('false'),
  }),
  response: {
    200: {
      description: 'What was done, as text.',
      content: { 'text/plain': { schema: z.string().meta({ example: 'done; reset_images=false' }) } },
    },
    ...errorResponses('engine_unavailable'),
  },
};

/** HotFunctions' text reply. It was sent as application/json, which it is not; here it is text/plain. */
export function clearRoute(app: Api, deps: Pick<RouteDeps, 'clear' | 'audited'>): void {
  app.route({
    method: [...ANY_METHOD],
    url: '/clear',
    schema,
    config: { needs: 'admin', nodeWide: true },
    async handler(request, reply) {
      const resetImages = TRUE.test(request.query.reset_images);
      await deps.audited(request, { action: 'clear', asked: { resetImages } }, () => deps.clear({ resetImages }));
      return reply.type('text/plain; charset=utf-8').send(`done; reset_images=${resetImages}`);
    },
  });
}
