// Calls example functions with their own events and prints the replies. Usage: node call.mjs <url> <name...>
import { readFileSync } from 'node:fs';

const [url, ...names] = process.argv.slice(2);
const token = process.env.API_TOKEN?.split(',')[0];
const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };

for (const name of names) {
  const body = readFileSync(new URL(`../../examples/functions/${name}/event.json`, import.meta.url));
  const started = performance.now();
  const reply = await fetch(`${url}/execute?name=${name}`, { method: 'POST', headers, body });
  const text = await reply.text();
  console.log(`    POST ${url}/execute?name=${name}: ${reply.status} in ${Math.round(performance.now() - started)} ms`);
  console.log(`    ${text}`);
  if (!reply.ok) process.exitCode = 1;
}
