import { expect, test } from 'vitest'
import { isMultiaddress, multiaddressText, parseMultiaddress, staysHere } from './multiaddress.ts'

const id = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'

test('addresses are read with their host, port and relay', () => {
  const relayed = `/dns4/relay.example.org/tcp/7400/p2p/${id}/p2p-circuit/p2p/${id}`
  expect(parseMultiaddress('/ip6/::1/tcp/0')).toMatchObject({ host: '::1', port: 0, isRelayed: false })
  expect(parseMultiaddress(relayed)).toMatchObject({ host: 'relay.example.org', port: 7400, isRelayed: true })
  for (const host of ['127.0.0.1', '::1', 'localhost']) {
    expect(parseMultiaddress(multiaddressText(host, 7400))).toMatchObject({ host, port: 7400 })
  }
  expect([isMultiaddress('/anything'), isMultiaddress('ws://x')]).toEqual([true, false])
})

test('[K6] what stays on this host is told by where the first connection goes', () => {
  const here = ['/ip4/127.8.9.1/tcp/1', '/ip6/::1/tcp/1', '/dns/localhost/tcp/1', `/ip4/127.0.0.1/tcp/1/p2p/${id}`]
  const away = ['/ip4/0.0.0.0/tcp/1', '/dns/localhost.example.org/tcp/1', `/ip4/10.0.0.1/tcp/1/p2p/${id}/p2p-circuit`]
  for (const text of here) expect([text, staysHere(parseMultiaddress(text))]).toEqual([text, true])
  for (const text of away) expect([text, staysHere(parseMultiaddress(text))]).toEqual([text, false])
})
