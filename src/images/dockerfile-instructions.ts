/** What the engine's parser takes for space (Go's `unicode.IsSpace`), and what JavaScript does besides. */
const SPACE = '[\\s\\u0085]';
const LEADING = new RegExp(`^${SPACE}+`);
const TRAILING = new RegExp(`${SPACE}+$`);
const IGNORED = new RegExp(`^${SPACE}*(#.*)?$`, 's');

/** A Dockerfile as the instructions it consists of, each a single line, without comments. */
export interface DockerfileText {
  instructions: string[];
  /**
   * The same Dockerfile with one instruction per line. Whatever an engine's parser makes of comments, directives and
   * continued lines, of this text it can make nothing but `instructions`.
   */
  canonical: string;
}

/** Joins continued lines as the engine's parser does, and leaves comments and empty lines out. Pure; never throws. */
export function readDockerfile(dockerfile: string): DockerfileText {
  const lines = dockerfile.replace(/^\uFEFF/, '').split(/\r?\n/);
  const escape = escapeOf(lines);
  const instructions: string[] = [];
  let open = false;
  for (const line of lines) {
    if (IGNORED.test(line)) continue;
    const end = line.replace(TRAILING, '');
    const goesOn = end.endsWith(escape);
    const text = goesOn ? end.slice(0, -1) : end;
    if (open) instructions.push((instructions.pop() ?? '') + text);
    else instructions.push(text.replace(LEADING, ''));
    open = goesOn;
  }
  const whole = instructions.map((text) => asOneLine(text, escape)).filter((text) => text !== '');
  return { instructions: whole, canonical: [...(escape === '`' ? ['# escape=`'] : []), ...whole, ''].join('\n') };
}

/** What is joined may begin as a comment or end as a continued line: then a parser would read the text in another way. */
function asOneLine(text: string, escape: string): string {
  let line = text.replace(LEADING, '').replace(TRAILING, '');
  while (line.endsWith(escape)) line = line.slice(0, -1).replace(TRAILING, '');
  return line.startsWith('#') ? '' : line;
}

/** Directives are comments before anything else; of this one the engine's parser looks at the first character only. */
function escapeOf(lines: readonly string[]): string {
  for (const line of lines) {
    const directive = /^\s*#\s*([a-z][a-z0-9]*)\s*=\s*(\S)/i.exec(line);
    if (!directive) return '\\';
    if (directive[1]?.toLowerCase() === 'escape') return directive[2] === '`' ? '`' : '\\';
  }
  return '\\';
}
