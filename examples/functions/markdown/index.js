import MarkdownIt from 'markdown-it';

const MAX_LENGTH = 1_000_000;

// Raw HTML in the text is escaped and links to scripts are left out, so that the page may show what strangers wrote.
const renderer = new MarkdownIt({ html: false, linkify: true, typographer: false });

// Turns `markdown` into an HTML fragment.
export function handle(event) {
  const text = event?.markdown;
  if (typeof text !== 'string') return badRequest("'markdown' has to be a string");
  if (text.length > MAX_LENGTH) return badRequest(`'markdown' has more than ${MAX_LENGTH} characters`);
  return { statusCode: 200, body: renderer.render(text) };
}

function badRequest(message) {
  return { statusCode: 400, body: JSON.stringify({ error: message }) };
}
