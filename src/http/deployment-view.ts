import type { Deployment } from '../functions/deployments.ts';

/** A deployment as it goes to a caller. */
export function deploymentView({ version, previous }: Deployment) {
  return {
    Name: version.name,
    Version: version.version,
    Environment: version.environment.name,
    Tag: version.bundle.tag,
    Previous: previous ?? null,
  };
}

/** A deployment as it stands in the audit log: the versions. */
export function beforeAndAfter({ version, previous }: Deployment) {
  return { before: previous ?? null, after: version.version };
}
