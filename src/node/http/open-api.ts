/** The OpenAPI document, made from the route table: what it says is what the server validates by. */
import type { ErrorCode } from '../../base/errors.ts'
import { statusOf } from './problem.ts'
import type { Route } from './route.ts'
import { problem, text } from './schemas.ts'

/** What any route may answer beside its own codes. */
export const commonCodes: readonly ErrorCode[] = [
  'invalid_argument',
  'unauthenticated',
  'forbidden',
  'origin_refused',
  'host_refused',
  'rate_limited',
  'closed',
]

const openCodes: readonly ErrorCode[] = ['invalid_argument', 'origin_refused', 'host_refused']

/** The codes of a route by the status that they have. */
export function codesOf(route: Route): Map<number, ErrorCode[]> {
  const codes = new Set([...(route.open === true ? openCodes : commonCodes), ...route.codes])
  return Map.groupBy(codes, (code) => statusOf[code] ?? 500)
}

export function parameterNames(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
}

export function openApi(routes: readonly Route[], version: string): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) (paths[route.path] ??= {})[route.method.toLowerCase()] = operationOf(route)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Skein, the API of a node',
      version,
      description:
        'Replicated state for agent fleets. Names in paths are percent-encoded; keys and spaces may hold any character.',
    },
    paths,
    components: {
      schemas: { Problem: problem },
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'An agent token: skt1_...' } },
    },
  }
}

function operationOf(route: Route): Readonly<Record<string, unknown>> {
  const answers: Record<string, unknown> = {}
  for (const [status, { says, schema, media = 'application/json' }] of Object.entries(route.answers)) {
    answers[status] = {
      description: says,
      ...((schema !== undefined || media !== 'application/json') && {
        content: { [media]: { schema: schema ?? text } },
      }),
    }
  }
  for (const [status, codes] of codesOf(route)) {
    const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
    const known = answers[status] as { readonly description: string; readonly content?: object } | undefined
    const says = codes.map((code) => `\`${code}\``).join(', ')
    answers[status] =
      known === undefined
        ? { description: says, content }
        : { description: `${known.description} Or ${says}.`, content: { ...known.content, ...content } }
  }
  return {
    summary: route.says,
    security: route.open === true ? [] : [{ token: [] }, {}],
    parameters: [
      ...parameterNames(route.path).map((name) => ({ name, in: 'path', required: true, schema: text })),
      ...Object.entries(route.query ?? {}).map(([name, schema]) => ({
        name,
        in: 'query',
        required: route.required?.includes(name) ?? false,
        ...('description' in schema && { description: schema['description'] }),
        schema,
      })),
      ...Object.entries(route.headers ?? {}).map(([name, description]) => ({
        name,
        in: 'header',
        required: false,
        description,
        schema: text,
      })),
    ],
    ...(route.body !== undefined && {
      requestBody: { required: route.bodyOptional !== true, content: { 'application/json': { schema: route.body } } },
    }),
    responses: answers,
  }
}
