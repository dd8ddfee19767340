/**
 * Adds a LABEL line after every FROM of a Dockerfile, so that each layer a build may leave behind carries it and can
 * be told from strangers' layers. Continued lines and the `escape` directive are understood; a FROM inside a longer
 * instruction is left alone.
 */
export function labelStages(dockerfile: string, label: string, value: string): string {
  const escape = /^\s*#\s*escape\s*=\s*`\s*$/im.test(dockerfile.split('\n').slice(0, 3).join('\n')) ? '`' : '\\';
  const lines: string[] = [];
  let continued = false;
  let from = false;
  for (const line of dockerfile.split(/\r?\n/)) {
    lines.push(line);
    // Comments and empty lines inside a continued instruction don't end it.
    if (continued && /^\s*(#.*)?$/.test(line)) continue;
    if (!continued) from = /^\s*FROM\s/i.test(line);
    continued = !/^\s*#/.test(line) && line.trimEnd().endsWith(escape);
    if (from && !continued) {
      lines.push(`LABEL ${label}="${value}"`);
      from = false;
    }
  }
  return lines.join('\n');
}
