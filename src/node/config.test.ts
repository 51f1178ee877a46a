import { expect, test } from 'vitest'
import { environmentOf, flagOf, keysIn, resolveConfig, settingNames, settings, showSetting } from './config.ts'
import { holdsSpace } from './config-values.ts'
import { newFleetKey } from './security/fleet-key.ts'

const key = newFleetKey()

test('every default is a value that its own reader takes, and alone they are without a mistake', () => {
  const { mistakes, warnings, sources } = resolveConfig({})
  expect([...mistakes, ...warnings]).toEqual([])
  expect(new Set(Object.values(sources))).toEqual(new Set(['default']))
})

test('every setting is shown as it could be written again', () => {
  const file = {
    dir: 'd',
    listen: '[::1]:7',
    http: 'none',
    httpNames: ['a.internal', 'b.internal'],
    httpOrigins: 'https://ops.example',
    join: ['ws://h:1', 'dns:skein.default.svc:7400', '/ip4/10.0.0.1/tcp/4001'],
    advertise: 'wss://me:7',
    tlsCert: 'c',
    tlsKey: 'k',
    tlsCa: 'a',
    zone: 'z',
    spaces: ['tasks', 'memory-*'],
    durability: 'os',
    keepMs: '36h',
    keepBytes: '10MiB',
    cacheBytes: '1500kB',
    log: 'warn,gossip=debug',
    transport: 'libp2p',
    conflictTargets: ['https://hooks.example/a', 'command:/usr/bin/page --now', 'log'],
    conflictResolvers: 'model=https://model.example/x=1',
    conflictActions: ['refund back=command:/opt/refund'],
    conflictPrivate: 'on',
  }
  const once = resolveConfig({ file: { path: 'f', text: JSON.stringify(file) } })
  expect(once.mistakes).toEqual([])
  const shown = Object.fromEntries(Object.keys(file).map((name) => [name, showSetting(name as never, once.config)]))
  const again = resolveConfig({ file: { path: 'f', text: JSON.stringify(shown) } })
  expect(again.config).toEqual(once.config)
  expect(shown).toMatchObject({ keepMs: '36h', keepBytes: '10MiB', cacheBytes: '1500kB', http: 'none' })
  expect(once.config.conflictResolvers).toEqual([
    { name: 'model', at: { kind: 'webhook', url: 'https://model.example/x=1' } },
  ])
  expect(once.config.conflictTargets[1]).toEqual({ kind: 'command', command: ['/usr/bin/page', '--now'] })
  expect(shown['join']).toBe('ws://h:1,dns:skein.default.svc:7400,/ip4/10.0.0.1/tcp/4001')
})

test('a flag goes before the environment, that before the file, that before the default', () => {
  const file = { path: 'skein.json', text: '{ "zone": "file", "keepMs": "1h", "durability": "os" }' }
  const environment = { SKEIN_ZONE: 'environment', SKEIN_KEEP_MS: '2h', SKEIN_CACHE_BYTES: '' }
  const { config, sources } = resolveConfig({ flags: { zone: ['flag'] }, environment, file })
  expect(config).toMatchObject({ zone: 'flag', keepMs: 7_200_000, durability: 'os', cacheBytes: 32 * 2 ** 20 })
  expect(sources).toMatchObject({
    zone: '--zone',
    keepMs: 'SKEIN_KEEP_MS',
    durability: 'skein.json: durability',
    cacheBytes: 'default',
  })
})

test('whom conflicts are told to is an address, a program or the log; unsigned webhooks are warned of', () => {
  for (const wrong of ['ftp://x', 'command:page', 'hooks.example', 'command:', 'https://']) {
    expect(resolveConfig({ flags: { conflictTargets: [wrong] } }).mistakes, wrong).toHaveLength(1)
  }
  for (const wrong of ['https://model.example', '=https://x', 'model=log']) {
    expect(resolveConfig({ flags: { conflictResolvers: [wrong] } }).mistakes, wrong).toHaveLength(1)
  }
  const short = resolveConfig({ environment: { SKEIN_CONFLICT_SECRET: 'short' } })
  expect(short.mistakes).toMatchObject([{ setting: 'conflictSecret', what: 'it is shorter than 16 characters' }])
  const flags = { conflictActions: ['undo=https://x.example'] }
  expect(resolveConfig({ flags }).warnings).toMatchObject([{ setting: 'conflictTargets' }])
  const environment = { SKEIN_CONFLICT_SECRET: 'sixteen characters' }
  expect(resolveConfig({ flags, environment }).warnings).toEqual([])
})

test('a repeated flag and a list with commas are the same', () => {
  const repeated = resolveConfig({ flags: { join: ['a:1', 'b:2,c:3'] } }).config.join
  expect(repeated).toEqual(resolveConfig({ environment: { SKEIN_JOIN: 'a:1, b:2,c:3' } }).config.join)
  expect(repeated.length).toBe(3)
})

test('the file may hold remarks, and texts that look like them', () => {
  const text = '// where it stands\n{\n  "zone": "a//b", /* not\n over */ "dir": "x\\"//y"\n}\n'
  const { config, mistakes } = resolveConfig({ file: { path: 'f', text } })
  expect(mistakes).toEqual([])
  expect(config).toMatchObject({ zone: 'a//b', dir: 'x"//y' })
})

const wrongFiles: readonly [title: string, text: string, finding: RegExp][] = [
  ['what is not JSON is told with its line', '{\n  "zone": "a",\n  "dir" "b"\n}', /not JSON.*line 3, column 9/],
  ['a list', '[]', /must hold one object/],
  ['an unknown key', '{ "keepMS": 1 }', /no setting is called keepMS\. Did you mean keepMs\?/],
  ['a wrong type', '{ "keepMs": true }', /must be a number, or a text such as 24h, not true/],
  ['a unit that is none', '{ "keepMs": "3 fortnights" }', /fortnights is no unit; there are ms, s, m, h, d/],
  ['a number below zero', '{ "cacheBytes": -1 }', /-1 is not a whole number from 0/],
  ['a choice that is none', '{ "durability": "dsik" }', /dsik is not one of memory, os, disk\. Did you mean disk\?/],
  ['no address', '{ "listen": "7400" }', /7400 is not HOST:PORT/],
  ['no port', '{ "listen": "127.0.0.1:70000" }', /they end at 65535/],
  ['a scheme that is not spoken', '{ "join": ["http://a:1"] }', /http:\/\/ is not spoken here/],
  ['nothing to dial', '{ "join": "a:0" }', /names no host and port/],
  ['a part of the log that is none', '{ "log": "info,gosip=debug" }', /gosip is not one of.*Did you mean gossip\?/],
  ['a short key', '{ "fleetKey": "secret" }', /this is no fleet key: it does not start with skf1_/],
  ['a star in the middle', '{ "spaces": "a*b" }', /a star stands at the end only/],
]

test.each(wrongFiles)('%s is found', (_, text, finding) => {
  const { mistakes } = resolveConfig({ file: { path: 'skein.json', text } })
  expect(mistakes.map(({ source, what }) => `${source}: ${what}`).join('\n')).toMatch(finding)
  expect(mistakes[0]?.source).toMatch(/^skein\.json/)
})

test('all mistakes are found at once', () => {
  const environment = { SKEIN_KEEP_MS: 'soon', SKEIN_DURABILITY: 'never' }
  const { mistakes } = resolveConfig({ flags: { listen: ['here'] }, environment })
  expect(mistakes.map(({ setting, source }) => [setting, source])).toEqual([
    ['listen', '--listen'],
    ['durability', 'SKEIN_DURABILITY'],
    ['keepMs', 'SKEIN_KEEP_MS'],
  ])
})

const unsafe: readonly [title: string, settings: Record<string, string>, finding: RegExp][] = [
  ['peers from everywhere without a key', { listen: '0.0.0.0:7400' }, /without a fleet key everybody there could join/],
  ['libp2p from everywhere without a key', { libp2pListen: '/ip4/0.0.0.0/tcp/1' }, /that needs a fleet key/],
  ['being found without a key', { libp2pDiscover: 'on' }, /that needs a fleet key/],
  ['a libp2p address that is none', { libp2pListen: 'ws://127.0.0.1:1' }, /is not like/],
  ['a certificate without its key', { tlsCert: 'c' }, /needs --tls-key beside it/],
  ['a key without its certificate', { tlsKey: 'k' }, /needs --tls-cert beside it/],
  ['old keys alone', { oldFleetKeys: key }, /none in use/],
  ['one port for both', { listen: '127.0.0.1:7401' }, /take another port/],
]

test.each(unsafe)('%s is refused', (_, wrong, finding) => {
  const { mistakes } = resolveConfig({ file: { path: 'f', text: JSON.stringify(wrong) } })
  expect(mistakes.map(({ what }) => what).join('\n')).toMatch(finding)
})

test('with a key and an address to tell, listening everywhere is fine', () => {
  const text = JSON.stringify({ listen: '0.0.0.0:7400', fleetKey: key, advertise: 'host-a:7400' })
  const { config, mistakes, warnings } = resolveConfig({ file: { path: 'f', text } })
  expect([...mistakes, ...warnings]).toEqual([])
  expect(config.advertise).toBe('ws://host-a:7400')
})

test('over libp2p, what stays on this host needs no key', () => {
  const text = JSON.stringify({
    libp2pListen: ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1'],
    join: '/dns/localhost/tcp/2',
  })
  const { mistakes, warnings } = resolveConfig({ file: { path: 'f', text } })
  expect([...mistakes, ...warnings]).toEqual([])
})

const doubtful: readonly [title: string, settings: Record<string, string>, finding: RegExp][] = [
  ['an address that nobody can dial', { listen: '0.0.0.0:7400', fleetKey: key }, /nobody dials it/],
  ['HTTP from everywhere in the clear', { http: ':7401' }, /tokens travel in the clear/],
  ['joining oneself', { join: '127.0.0.1:7400' }, /is this node itself/],
  ['joining far hosts without a key', { join: '10.0.0.7:7400' }, /only nodes without one/],
  ['writes that no disk has', { durability: 'memory' }, /a crash may lose it/],
]

test.each(doubtful)('%s is told', (_, settingsOfFile, finding) => {
  const { mistakes, warnings } = resolveConfig({ file: { path: 'f', text: JSON.stringify(settingsOfFile) } })
  expect(mistakes).toEqual([])
  expect(warnings.map(({ what }) => what).join('\n')).toMatch(finding)
})

test('variables that are no settings are told, but not those of Kubernetes or of the command line', () => {
  const environment = {
    SKEIN_KEPE_MS: '1',
    SKEIN_PORT: 'tcp://10.0.0.1:7400',
    SKEIN_PORT_7400_TCP_ADDR: '10.0.0.1',
    SKEIN_SERVICE_HOST: '10.0.0.1',
    SKEIN_SERVICE_PORT_PEERS: '7400',
    SKEIN_NODE: 'http://x',
    SKEINS: '1',
  }
  const { mistakes, warnings } = resolveConfig({ environment })
  expect(mistakes).toEqual([])
  expect(warnings.map(({ source, what }) => `${source}: ${what}`)).toEqual([
    'SKEIN_KEPE_MS: no setting is called SKEIN_KEPE_MS. Did you mean SKEIN_KEEP_MS?',
  ])
})

test('a key file gives the key in use and those that are accepted', () => {
  const flags = { fleetKeyFile: ['fleet.key'] }
  const other = newFleetKey()
  const text = `# fleet\n${key}\n\n${other}\n`
  const found = resolveConfig({ flags, readKeyFile: () => ({ text, isPrivate: true }) })
  expect(found.config).toMatchObject({ fleetKey: key, oldFleetKeys: [other] })
  expect([...found.mistakes, ...found.warnings]).toEqual([])
  expect(keysIn(text)).toEqual([key, other])
  const open = resolveConfig({ flags, readKeyFile: () => ({ text, isPrivate: false }) })
  expect(open.warnings.map(({ what }) => what)).toEqual(['others on this host can read fleet.key: chmod 600 it'])
  const empty = resolveConfig({ flags, readKeyFile: () => ({ text: '\n', isPrivate: true }) })
  expect(empty.mistakes[0]?.what).toMatch(/holds no key/)
  const twice = resolveConfig({
    flags,
    environment: { SKEIN_FLEET_KEY: key },
    readKeyFile: () => ({ text, isPrivate: true }),
  })
  expect(twice.mistakes[0]?.what).toMatch(/already, from SKEIN_FLEET_KEY/)
})

test('secrets have no flag and are never shown', () => {
  const { config } = resolveConfig({ environment: { SKEIN_FLEET_KEY: key, SKEIN_OLD_FLEET_KEYS: key } })
  for (const name of settingNames) {
    if (settings[name].secret === true) expect(flagOf(name)).toBeUndefined()
    expect(showSetting(name, config)).not.toContain(key)
  }
  expect(showSetting('fleetKey', config)).toBe('(set)')
  expect(showSetting('fleetKey', resolveConfig({}).config)).toBe('')
})

test('names follow from the name', () => {
  expect(flagOf('keepMs')).toBe('keep-ms')
  expect(environmentOf('fleetKeyFile')).toBe('SKEIN_FLEET_KEY_FILE')
})

test('spaces are held by name and by prefix', () => {
  expect(holdsSpace(['*'], 'anything')).toBe(true)
  expect(holdsSpace(['tasks', 'memory-*'], 'memory-7')).toBe(true)
  expect(holdsSpace(['tasks', 'memory-*'], 'tasks-2')).toBe(false)
})
