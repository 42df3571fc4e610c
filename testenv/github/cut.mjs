// node cut.mjs DESCRIPTION OPERATIONS OUT: what Prism needs of GitHub's OpenAPI description for the operations that are listed.
//
// DESCRIPTION is generated/api.github.com.json of the npm package @octokit/openapi; OPERATIONS has a line "METHOD /path" for each.
import { readFileSync, writeFileSync } from 'node:fs';

const [from, list, to] = process.argv.slice(2);
const whole = JSON.parse(readFileSync(from, 'utf8'));
const wanted = readFileSync(list, 'utf8').split('\n').filter((line) => line && !line.startsWith('#'));

// GitHub answers its own media type; its description names the common one only, which Prism takes at its word.
function alsoByGithubsName(content) {
  const json = content?.['application/json'];
  if (json) content['application/vnd.github+json'] ??= json;
}

// Where the description shows what is answered to an invalid request, Prism sends that example instead of saying what is invalid.
const UNWANTED = ['422'];

const cut = { openapi: whole.openapi, info: whole.info, servers: whole.servers, paths: {}, components: {} };
for (const line of wanted) {
  const [method, path] = line.split(' ');
  const operation = whole.paths[path]?.[method.toLowerCase()];
  if (!operation) throw new Error(`${line} is not in the description`);
  for (const name of ['x-github', 'callbacks', 'externalDocs', 'description', 'tags']) delete operation[name];
  for (const status of UNWANTED) delete operation.responses[status];
  for (const answer of Object.values(operation.responses)) {
    alsoByGithubsName(answer.content);
    for (const media of Object.values(answer.content ?? {})) for (const name of ['example', 'examples']) delete media[name];
  }
  // Any operation can be refused or put off; the description says so for some only.
  for (const status of ['403', '429']) operation.responses[status] ??= { description: 'refused', content: { 'application/json': { schema: { $ref: '#/components/schemas/basic-error' } } } };
  for (const media of Object.values(operation.requestBody?.content ?? {})) for (const name of ['example', 'examples']) delete media[name];
  cut.paths[path] ??= {};
  cut.paths[path][method.toLowerCase()] = operation;
}

// Components that are reached, over any number of steps.
const open = [cut.paths];
while (open.length > 0) {
  const node = open.pop();
  if (node === null || typeof node !== 'object') continue;
  const [, kind, name] = typeof node.$ref === 'string' ? node.$ref.match(/^#\/components\/([^/]+)\/([^/]+)$/) ?? [] : [];
  if (kind && !cut.components[kind]?.[name]) {
    const component = whole.components[kind][name];
    if (kind === 'responses') alsoByGithubsName(component.content);
    delete component.examples;
    cut.components[kind] ??= {};
    cut.components[kind][name] = component;
    open.push(component);
  }
  open.push(...Object.values(node));
}
delete cut.components.examples;
writeFileSync(to, JSON.stringify(cut) + '\n');
