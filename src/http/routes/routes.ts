import type { Api } from '../api.ts';
import type { RouteDeps } from '../deps.ts';
import { clearRoute } from './clear.ts';
import { configureRoute } from './configure.ts';
import { deleteRoute } from './delete-function.ts';
import { executeRoute } from './execute.ts';
import { functionRoute } from './function.ts';
import { functionsRoute } from './functions.ts';
import { healthzRoute } from './healthz.ts';
import { invocationRoute } from './invocation.ts';
import { metricsRoute } from './metrics.ts';
import { openapiRoute } from './openapi.ts';
import { prepareRoute } from './prepare.ts';
import { readyzRoute } from './readyz.ts';
import { rollbackRoute } from './rollback-function.ts';
import { uploadRoute } from './upload-function.ts';

/** Adds every route. */
export function addRoutes(app: Api, deps: RouteDeps): void {
  executeRoute(app, deps);
  configureRoute(app, deps);
  clearRoute(app, deps);
  prepareRoute(app, deps);
  functionsRoute(app, deps);
  functionRoute(app, deps);
  uploadRoute(app, deps);
  deleteRoute(app, deps);
  rollbackRoute(app, deps);
  invocationRoute(app, deps);
  healthzRoute(app);
  readyzRoute(app, deps);
  metricsRoute(app, deps);
  openapiRoute(app, deps);
}
