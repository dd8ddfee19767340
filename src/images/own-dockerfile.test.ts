import { expect, it } from 'vitest';
import { checkOwnDockerfile } from './own-dockerfile.ts';

const FROM = `ARG RUNTIME_IMAGE\nFROM \${RUNTIME_IMAGE}\n`;

it.each([
  'ADD http://127.0.0.1:8222/functions /function/code/\n',
  'add --chown=1:1 HTTP://169.254.169.254/latest /x',
  'ADD ["https://host/x", "/x"]',
  'ADD ${WHERE} /x',
  'ADD $WHERE /x',
  'ADD git@host:repo /x',
  '  ONBUILD ADD http://h/x /x',
  'AD\\\nD http://h/x /x',
  'ADD \\\n# a comment\n\n  http://h/x \\\n /x',
  'RUN true\r\nADD http://h/x /x\r\n',
])('refuses what the engine itself would fetch: %j', (line) => {
  expect(() => checkOwnDockerfile(FROM + line)).toThrow(/ADD takes files of the function only/);
});

it('understands the escape directive', () => {
  expect(() => checkOwnDockerfile(`# escape=\`\n${FROM}ADD \`\nhttp://h/x /x`)).toThrow();
  expect(() => checkOwnDockerfile(`# escape=\`\n${FROM}RUN echo \\\nADD http://h/x /x`)).toThrow();
});

it.each([
  'ADD data.tar.gz /function/code/',
  'COPY http /x',
  'RUN curl http://host/x',
  'RUN echo \\\nADD http://h/x /x',
  '# ADD http://h/x /x',
  'LABEL source="http://h/x"',
])('takes %j', (line) => {
  expect(() => checkOwnDockerfile(FROM + line)).not.toThrow();
});
