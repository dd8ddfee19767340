import { z } from 'zod';
import type { Api } from '../api.ts';

const schema = {
  summary: 'The process is alive',
  tags: ['health'],
  security: [],
  response: {
    200: {
      description: 'Alive.',
      content: { 'application/json': { schema: z.object({ Status: z.literal('ok') }) } },
    },
  },
};

export function healthzRoute(app: Api): void {
  const config = { open: true, whileDraining: true, quiet: true };
  app.route({
    method: 'GET',
    url: '/healthz',
    schema,
    config,
    async handler() {
      return { Status: 'ok' as const };
    },
  });
}
