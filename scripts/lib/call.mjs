// Calls an example function with its own event and prints the reply. Usage: node call.mjs <url> <name>
import { readFileSync } from 'node:fs';

const [url, name] = process.argv.slice(2);
const event = readFileSync(new URL(`../../examples/functions/${name}/event.json`, import.meta.url));
const token = process.env.API_TOKEN?.split(',')[0];

const started = performance.now();
const reply = await fetch(`${url}/execute?name=${name}`, {
  method: 'POST',
  headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
  body: event,
});
const text = await reply.text();
console.log(
  `    POST ${url}/execute?name=${name}  ->  ${reply.status} in ${Math.round(performance.now() - started)} ms`,
);
console.log(`    ${text}`);
process.exitCode = reply.ok ? 0 : 1;
