import { describe, expect, it } from 'vitest';
import { bundleFacts, type Language } from './bundle-facts.ts';

function facts(language: Language, files: Record<string, string>) {
  return bundleFacts(
    language,
    Object.entries(files).map(([path, content]) => ({ path, content })),
  );
}

const installOf = async (language: Language, files: Record<string, string>) => (await facts(language, files)).install;
const json = JSON.stringify;

describe('bundleFacts', () => {
  it('prefers an own Dockerfile', async () => {
    expect(await facts('python', { Dockerfile: 'FROM x', 'requirements.txt': 'a' })).toEqual({
      ownDockerfile: true,
      install: undefined,
    });
  });

  it.each([
    ['main.py', ''],
    ['requirements.txt', ''],
    ['requirements.txt', '# nothing\n\n   # here\n'],
  ])('Python: %s %j needs no installation', async (path, content) => {
    expect(await installOf('python', { [path]: content })).toBeUndefined();
  });

  it('Python: requirements from an index need only their file', async () => {
    const text = 'Pillow==11.0 # pinned\nx @ https://host/x.whl\n--index-url https://host\n';
    expect(await installOf('python', { 'requirements.txt': text })).toEqual({
      files: ['requirements.txt'],
      locked: false,
    });
  });

  it.each([
    '-r more.txt',
    '-e .',
    './lib',
    '--constraint c.txt',
    'wheels/x-1.0-py3-none-any.whl',
    'x @ file:lib',
    'x.tar.gz',
  ])('Python: %s needs the whole bundle', async (line) => {
    expect(await installOf('python', { 'requirements.txt': `a\n${line}\n` })).toEqual({
      files: undefined,
      locked: false,
    });
  });

  it.each([
    [{ 'index.js': '' }],
    [{ 'package.json': json({ type: 'module' }) }],
    [{ 'package.json': json({ devDependencies: { a: '1' }, scripts: { test: 'x' } }) }],
    [{ 'package.json': json({ dependencies: { a: '1' } }), 'node_modules/a/index.js': '' }],
    [{ 'package.json': 'not json', 'node_modules/a/index.js': '' }],
  ])('Node.js: %j needs no installation', async (files) => {
    expect(await installOf('nodejs', files as Record<string, string>)).toBeUndefined();
  });

  it('Node.js: dependencies need package.json, the lock file and .npmrc', async () => {
    const manifest = json({ dependencies: { a: '^1' } });
    expect(await installOf('nodejs', { 'package.json': manifest })).toEqual({ files: ['package.json'], locked: false });
    expect(await installOf('nodejs', { 'package.json': manifest, 'package-lock.json': '{}', '.npmrc': '' })).toEqual({
      files: ['package.json', 'package-lock.json', '.npmrc'],
      locked: true,
    });
  });

  it.each([
    [{ dependencies: { a: 'file:./a' } }],
    [{ dependencies: { a: '../a' } }],
    [{ optionalDependencies: { a: 'link:a' } }],
    [{ dependencies: {}, scripts: { postinstall: 'node build.js' } }],
    [{ workspaces: ['packages/*'] }],
  ])('Node.js: %j needs the whole bundle', async (manifest) => {
    expect(await installOf('nodejs', { 'package.json': json(manifest) })).toEqual({ files: undefined, locked: false });
  });

  it.each(['{', '[]x', 'null', '"text"'])('Node.js: package.json that is %s names the file', async (text) => {
    await expect(facts('nodejs', { 'package.json': text })).rejects.toMatchObject({
      code: 'invalid_function',
      details: { file: 'package.json' },
    });
  });

  it('Java: sources are compiled, jars and classes are not', async () => {
    expect(await installOf('java', { 'main/Main.java': '' })).toEqual({ files: undefined, locked: false });
    expect(await installOf('java', { 'lib/a.jar': '', 'main/Main.class': '' })).toBeUndefined();
  });
});
