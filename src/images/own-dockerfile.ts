import { WorkerFrontError } from '../lib/errors.ts';

/**
 * Rejects a bundle's Dockerfile with an `ADD` that the engine itself would fetch (`invalid_function`): the engine is
 * behind no wall, it reaches this machine's services and a cloud's metadata. A variable could become an address.
 * https://docs.docker.com/reference/dockerfile/#adding-files-from-a-url
 */
export function checkOwnDockerfile(dockerfile: string): void {
  const remote = instructions(dockerfile).find(
    (text) => /^(ONBUILD\s+)*ADD\s/i.test(text) && /:\/\/|\$|git@/.test(text),
  );
  if (remote === undefined) return;
  throw new WorkerFrontError(
    'invalid_function',
    `Dockerfile: '${remote.slice(0, 200)}': ADD takes files of the function only, without variables. Download in a RUN step instead`,
    { details: { file: 'Dockerfile' } },
  );
}

/** Whole instructions: continued lines joined, as the engine's parser does, comments and empty lines left out. */
function instructions(dockerfile: string): string[] {
  const lines = dockerfile.split(/\r?\n/).map((line) => line.replace(/^\uFEFF/, ''));
  const escape = escapeOf(lines);
  const found: string[] = [];
  let open = false;
  for (const line of lines) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const end = line.trimEnd();
    const goesOn = end.endsWith(escape);
    const text = goesOn ? end.slice(0, -1) : line;
    if (open) found.push((found.pop() ?? '') + text);
    else found.push(text.trimStart());
    open = goesOn;
  }
  return found;
}

/** Directives are comments before anything else. */
function escapeOf(lines: readonly string[]): string {
  for (const line of lines) {
    const directive = /^\s*#\s*([a-z]+)\s*=\s*(\S+)\s*$/i.exec(line);
    if (!directive) return '\\';
    if (directive[1]?.toLowerCase() === 'escape') return directive[2] ?? '\\';
  }
  return '\\';
}
