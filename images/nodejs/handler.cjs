'use strict';
// Finds and loads the function's handler.

const fs = require('node:fs');
const path = require('node:path');

const EXTENSIONS = ['.js', '.mjs', '.cjs'];
const DEFAULT_EXPORTS = ['handle', 'handler'];

/** The handler named `file.export`, `dir/file.export` or `file.a.b.c`; null: `index.handle`, else `index.handler`. */
exports.loadHandler = async (codeDir, name) => {
  const { file, candidates } = parseName(name);
  const loaded = await loadModule(findFile(codeDir, file));
  for (const candidate of candidates) {
    const handler = lookUp(loaded, candidate);
    if (typeof handler === 'function') return handler;
  }
  const looked = candidates.map((candidate) => `'${candidate.join('.')}'`).join(' or ');
  throw handlerNotFound(`${path.relative(codeDir, loaded.filename)} exports no function ${looked}`);
};

function parseName(name) {
  if (name === null || name === undefined) {
    return { file: 'index', candidates: DEFAULT_EXPORTS.map((key) => [key]) };
  }
  const base = path.basename(name);
  const dot = base.indexOf('.');
  if (dot < 1 || dot === base.length - 1) throw handlerNotFound(`handler '${name}' is not of the form 'file.export'`);
  const file = path.join(path.dirname(name), base.slice(0, dot));
  return { file, candidates: [base.slice(dot + 1).split('.')] };
}

function findFile(codeDir, file) {
  const names = EXTENSIONS.map((extension) => file + extension);
  const found = names.find((name) => fs.statSync(path.join(codeDir, name), { throwIfNoEntry: false })?.isFile());
  if (!found) throw handlerNotFound(`the function has no file ${names.join(', ')}`);
  return path.join(codeDir, found);
}

/** The module's exports; both the module's own and, for CommonJS code that was imported, those of its default export. */
async function loadModule(filename) {
  if (!isModule(filename)) {
    try {
      return { filename, scopes: [require(filename)] };
    } catch (error) {
      // Module syntax in a .js file without "type", where `require` can't load it (top-level await).
      if (error?.code !== 'ERR_REQUIRE_ASYNC_MODULE' && error?.code !== 'ERR_REQUIRE_ESM') throw error;
    }
  }
  try {
    const namespace = await import(require('node:url').pathToFileURL(filename).href);
    return { filename, scopes: [namespace, namespace.default] };
  } catch (error) {
    throw error?.name === 'SyntaxError' ? withPlace(error, filename) : error;
  }
}

/** Node.js keeps the place of a syntax error in an ES module to itself, but for what `--check` prints. */
function withPlace(error, filename) {
  const check = [process.execPath, ['--check', filename], { encoding: 'utf8', timeout: 5000 }];
  const place = require('node:child_process')
    .spawnSync(...check)
    .stderr?.split('\n\n')[0];
  if (place?.startsWith('file:') || place?.startsWith('/')) error.stack = `${place}\n\n${error.stack}`;
  return error;
}

function isModule(filename) {
  const extension = path.extname(filename);
  return extension === '.mjs' || (extension === '.js' && nearestType(path.dirname(filename)) === 'module');
}

function nearestType(dir) {
  for (let at = dir; ; at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    if (fs.existsSync(file)) return JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '')).type;
    if (at === path.dirname(at)) return undefined;
  }
}

function lookUp({ scopes }, keys) {
  for (const scope of scopes) {
    let owner;
    let value = scope;
    for (const key of keys) {
      owner = value;
      value = value?.[key];
    }
    // A method keeps its object: `exports.app = new App()` with handler `index.app.handle`.
    if (typeof value === 'function') return keys.length > 1 ? bindMethod(value, owner) : value;
  }
  return undefined;
}

function bindMethod(method, owner) {
  const bound = method.bind(owner);
  return Object.defineProperty(bound, 'length', { value: method.length });
}

function handlerNotFound(message) {
  const error = new Error(message);
  error.name = 'HandlerNotFound';
  return error;
}
