/** What is in deploy/ fits this version: settings, routes, ports and files that it names are there. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { environmentOf, resolveConfig, settingNames } from '../src/node/config.ts'
import { routes } from '../src/node/http/routes/table.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

interface Probe {
  readonly exec: { readonly command: readonly string[] }
}

interface Container {
  readonly env: readonly { readonly name: string; readonly value?: string }[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly startupProbe: Probe
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
}

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly selector?: unknown
    readonly serviceName?: string
    readonly template?: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> }
      readonly spec: {
        readonly terminationGracePeriodSeconds: number
        readonly containers: readonly Container[]
        readonly volumes: readonly { readonly name: string }[]
      }
    }
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[]
  }
}

describe('Kubernetes', () => {
  const manifests = parseAllDocuments(read('deploy/kubernetes/skein.yaml')).map((one) => {
    expect(one.errors).toEqual([])
    return one.toJS() as Manifest
  })
  const of = (kind: string): Manifest => manifests.find((one) => one.kind === kind) as Manifest
  const stateful = of('StatefulSet')
  const pod = stateful.spec.template?.spec
  const [container] = pod?.containers ?? []
  const variables = Object.fromEntries(
    (container?.env ?? []).map(({ name, value = 'x' }) => [
      name,
      value.replace('$(POD_NAME)', 'skein-0').replace('$(POD_NAMESPACE)', 'default'),
    ]),
  )

  test('selectors, the service, its port and the volumes belong together', () => {
    const labels = stateful.spec.template?.metadata.labels
    expect(of('Service').spec.selector).toEqual(labels)
    expect(stateful.spec.selector).toEqual({ matchLabels: labels })
    expect(of('PodDisruptionBudget').spec.selector).toEqual({ matchLabels: labels })
    expect(stateful.spec.serviceName).toBe(of('Service').metadata.name)
    const volumes = [
      ...(pod?.volumes ?? []).map(({ name }) => name),
      ...(stateful.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name),
    ]
    expect(container?.volumeMounts.map(({ name }) => name).sort()).toEqual(volumes.sort())
    expect(pod?.terminationGracePeriodSeconds).toBeGreaterThan(15)
  })

  test('every variable is a setting, and together they are a configuration without a mistake', () => {
    const known = settingNames.map(environmentOf)
    const own = Object.keys(variables).filter((name) => name.startsWith('SKEIN_'))
    expect(own.filter((name) => !known.includes(name))).toEqual([])
    const { config, mistakes, warnings } = resolveConfig({
      environment: variables,
      readKeyFile: () => ({ text: 'skf1_'.padEnd(64, 'a'), isPrivate: true }),
    })
    expect([...mistakes, ...warnings].filter(({ setting }) => setting !== 'fleetKeyFile')).toEqual([])
    expect(config.listen).toEqual({ host: '0.0.0.0', port: container?.ports[0]?.containerPort })
    expect(config.join).toEqual([{ kind: 'dns', host: 'skein.default.svc', port: 7400 }])
  })

  test('the probes ask routes that need no token', () => {
    const open = routes.filter((route) => route.open === true)
    for (const probe of [container?.startupProbe, container?.livenessProbe, container?.readinessProbe]) {
      const [node, script = '', path = ''] = probe?.exec.command ?? []
      expect(node).toBe('node')
      expect(existsSync(join(root, script.replace('/app/', '')))).toBe(true)
      const url = new URL(path, 'http://localhost')
      const route = open.find((one) => one.path === url.pathname)
      expect(route?.path, path).toBe(url.pathname)
      for (const name of url.searchParams.keys()) expect(Object.keys(route?.query ?? {})).toContain(name)
    }
  })
})

test('the probe exits with what the node answers', async () => {
  const statuses: Readonly<Record<string, number>> = { '/healthz': 200, '/readyz?gaps=1': 503 }
  const server = createServer((request, response) => {
    response.statusCode = statuses[request.url ?? ''] ?? 404
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const { spawn } = await import('node:child_process')
  const exit = (path: string, at: number): Promise<number | null> =>
    new Promise((resolve) => {
      const env = { ...process.env, SKEIN_NODE: `http://127.0.0.1:${at}` }
      spawn(process.execPath, [join(root, 'bin/probe.js'), path], { env }).on('close', resolve)
    })
  expect(await exit('/healthz', port)).toBe(0)
  expect(await exit('/readyz?gaps=1', port)).toBe(1)
  expect(await exit('/healthz', 1)).toBe(1)
})

describe('Dockerfile', () => {
  const lines = read('deploy/Dockerfile').split('\n')

  test('it runs the Node that the project pins, and copies what is there', () => {
    const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: Record<string, string> }
    const images = lines.filter((line) => line.startsWith('FROM ')).map((line) => line.split(' ')[1])
    expect(new Set(images)).toEqual(new Set([`node:${devDependencies['node']}-bookworm-slim`]))
    for (const line of lines.filter((one) => /^COPY (?!--from)/.test(one))) {
      for (const path of line.split(' ').slice(1, -1)) expect(existsSync(join(root, path)), path).toBe(true)
    }
    expect(lines).toContain('CMD ["up"]')
  })

  test('its variables are settings', () => {
    const names = lines.flatMap((line) => /^ENV (\w+)=/.exec(line)?.[1] ?? [])
    for (const name of names) expect(settingNames.map(environmentOf)).toContain(name)
  })
})

test('the systemd unit is one that systemd understands, where it is there to ask', ({ skip }) => {
  const unit = read('deploy/skein.service')
  expect(unit).toContain('ExecStart=/usr/bin/env skein up --config /etc/skein/skein.json')
  let said: string
  try {
    said = execFileSync('systemd-analyze', ['verify', '--man=no', join(root, 'deploy/skein.service')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    const { code, stderr = '' } = error as { readonly code?: string; readonly stderr?: string }
    if (code === 'ENOENT') return skip('there is no systemd here')
    said = stderr
  }
  expect(said.split('\n').filter((line) => line.includes('skein.service'))).toEqual([])
})
