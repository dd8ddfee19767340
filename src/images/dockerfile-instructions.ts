/** What the engine's parser takes for space (Go's `unicode.IsSpace`), and what JavaScript does besides. */
const SPACE = /[\s\u0085]/;

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
    const end = withoutSpaceBehind(line);
    const begin = withoutSpaceBefore(end);
    if (begin === '' || begin.startsWith('#')) continue;
    const goesOn = end.endsWith(escape);
    const text = goesOn ? end.slice(0, -1) : end;
    if (open) instructions.push((instructions.pop() ?? '') + text);
    else instructions.push(withoutSpaceBefore(text));
    open = goesOn;
  }
  const whole = instructions.map((text) => asOneLine(text, escape)).filter((text) => text !== '');
  return { instructions: whole, canonical: [...(escape === '`' ? ['# escape=`'] : []), ...whole, ''].join('\n') };
}

/** What is joined may begin as a comment or end as a continued line: then a parser would read the text in another way. */
function asOneLine(text: string, escape: string): string {
  let line = withoutSpaceBehind(withoutSpaceBefore(text));
  while (line.endsWith(escape)) line = withoutSpaceBehind(line.slice(0, -1));
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

// By hand: a regular expression would look at a long row of spaces once for each of them.

function withoutSpaceBefore(text: string): string {
  let start = 0;
  while (start < text.length && SPACE.test(text.charAt(start))) start += 1;
  return text.slice(start);
}

function withoutSpaceBehind(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.test(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}
