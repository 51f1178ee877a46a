/**
 * What one source file imports and touches, read from its syntax tree: text in comments and strings is no finding, a
 * property that happens to be called `process` is none, and neither is a name that the file declares itself.
 *
 * It knows no layer and no rule; rules.ts judges.
 */

import { parseSync, visitorKeys } from 'oxc-parser'

export interface Facts {
  readonly imports: readonly Import[]
  /** Free identifiers in value positions; `Math.random` counts as one name. */
  readonly globals: readonly Found[]
  /** `async`, `await` and their kin. */
  readonly asynchronous: readonly Found[]
  /** `it.only`, `describe.skip` and their kin. */
  readonly strayTests: readonly Found[]
  readonly parseErrors: readonly Found[]
}

export interface Found {
  readonly name: string
  readonly line: number
}

export interface Import {
  readonly specifier: string
  readonly line: number
  /** Gone at run time. */
  readonly typeOnly: boolean
}

interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly [field: string]: unknown
}

const testFunctions = new Set(['it', 'test', 'describe', 'suite', 'bench'])
const strayWords = new Set(['only', 'skip'])

export function factsOf(path: string, text: string): Facts {
  const { program, errors } = parseSync(path, text)
  const lineAt = lineFinder(text)
  const reader = new Reader(lineAt)
  reader.read(program as unknown as SyntaxNode)
  return {
    imports: reader.imports,
    globals: reader.globals,
    asynchronous: reader.asynchronous,
    strayTests: reader.strayTests,
    parseErrors: errors.map((error) => ({ name: error.message, line: lineAt(error.labels[0]?.start ?? 0) })),
  }
}

class Reader {
  readonly imports: Import[] = []
  readonly globals: Found[] = []
  readonly asynchronous: Found[] = []
  readonly strayTests: Found[] = []
  readonly #lineAt: (offset: number) => number
  readonly #scopes: Set<string>[] = []

  constructor(lineAt: (offset: number) => number) {
    this.#lineAt = lineAt
  }

  read(node: SyntaxNode, parent?: SyntaxNode, field?: string): void {
    this.#noteImport(node)
    if (isTypeOnly(node)) {
      this.#readTypes(node)
      return
    }
    if (node.type === 'ExportNamedDeclaration' && node['source'] !== null) return // names of another file
    this.#noteAsync(node)
    this.#noteStrayTest(node)
    const declared = declaredBy(node)
    if (declared !== undefined) this.#scopes.push(declared)
    if (node.type === 'Identifier' && isRead(parent, field)) this.#noteName(node, parent, field)
    for (const [child, key] of childrenOf(node)) this.read(child, node, key)
    if (declared !== undefined) this.#scopes.pop()
  }

  /** Inside a type only imports count: `import('./x.ts').T`. */
  #readTypes(node: SyntaxNode): void {
    for (const [child] of childrenOf(node)) {
      this.#noteImport(child)
      this.#readTypes(child)
    }
  }

  #noteName(node: SyntaxNode, parent: SyntaxNode | undefined, field: string | undefined): void {
    const name = node['name'] as string
    if (this.#scopes.some((scope) => scope.has(name))) return
    const member = parent?.type === 'MemberExpression' && field === 'object' ? memberName(parent) : undefined
    // Math is fine by the names of its functions; handed round as a value it could be asked for chance.
    const full = name !== 'Math' ? name : member === undefined || member === 'random' ? 'Math.random' : `Math.${member}`
    this.globals.push({ name: full, line: this.#lineAt(node.start) })
  }

  #noteImport(node: SyntaxNode): void {
    const line = this.#lineAt(node.start)
    const add = (source: unknown, typeOnly: boolean): void => {
      const specifier = literalText(source)
      if (specifier !== undefined) this.imports.push({ specifier, line, typeOnly })
    }
    switch (node.type) {
      case 'ImportDeclaration':
        add(node['source'], node['importKind'] === 'type')
        break
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        add(node['source'], node['exportKind'] === 'type')
        break
      case 'ImportExpression':
        add(node['source'], false)
        break
      case 'TSImportType':
        add(node['source'], true)
        break
      case 'TSExternalModuleReference':
        add(node['expression'], false)
        break
      case 'CallExpression':
        if (isRequire(node['callee'] as SyntaxNode)) add((node['arguments'] as readonly unknown[])[0], false)
        break
      case 'NewExpression': {
        // new URL('./worker.ts', import.meta.url): the usual way to name a worker's file.
        const [path, base] = node['arguments'] as readonly SyntaxNode[]
        const named = (node['callee'] as SyntaxNode)['name'] === 'URL' && base !== undefined && isImportMetaUrl(base)
        if (named && literalText(path)?.endsWith('.ts') === true) add(path, false)
        break
      }
      default:
    }
  }

  #noteAsync(node: SyntaxNode): void {
    const word = asyncWord(node)
    if (word !== undefined) this.asynchronous.push({ name: word, line: this.#lineAt(node.start) })
  }

  #noteStrayTest(node: SyntaxNode): void {
    if (node.type !== 'MemberExpression') return
    const word = memberName(node)
    if (word === undefined || !strayWords.has(word)) return
    let root = node['object'] as SyntaxNode
    while (root.type === 'MemberExpression' || root.type === 'CallExpression') {
      root = (root.type === 'MemberExpression' ? root['object'] : root['callee']) as SyntaxNode
    }
    const name = root['name'] as string
    if (root.type !== 'Identifier' || !testFunctions.has(name)) return
    this.strayTests.push({ name: `${name}.${word}`, line: this.#lineAt(node.start) })
  }
}

// --- reading the tree -------------------------------------------------------------------------------------------

function* childrenOf(node: SyntaxNode): Generator<[SyntaxNode, string]> {
  for (const key of visitorKeys[node.type] ?? Object.keys(node)) {
    const value = node[key]
    for (const child of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (typeof child === 'object' && child !== null && 'type' in child) yield [child as SyntaxNode, key]
    }
  }
}

/** The nodes of TypeScript that stand round a value or hold one; all its others vanish when the types are stripped. */
const typescriptWithValues = new Set([
  'TSAsExpression',
  'TSSatisfiesExpression',
  'TSNonNullExpression',
  'TSTypeAssertion',
  'TSInstantiationExpression',
  'TSParameterProperty',
  'TSExportAssignment',
  'TSImportEqualsDeclaration',
  'TSExternalModuleReference',
  'TSEnumDeclaration',
  'TSEnumBody',
  'TSEnumMember',
  'TSModuleDeclaration',
  'TSModuleBlock',
])

function isTypeOnly(node: SyntaxNode): boolean {
  return (node.type.startsWith('TS') && !typescriptWithValues.has(node.type)) || node['declare'] === true
}

/** Is an identifier at this place the reading (or writing) of a variable, not the name of a property or a label? */
function isRead(parent: SyntaxNode | undefined, field: string | undefined): boolean {
  switch (parent?.type) {
    case 'MemberExpression':
      return field === 'object' || parent['computed'] === true
    case 'Property':
    case 'MethodDefinition':
    case 'PropertyDefinition':
    case 'AccessorProperty':
      return field === 'value' || parent['computed'] === true
    case 'TSEnumMember':
      return field === 'initializer'
    case 'ImportSpecifier':
    case 'ImportDefaultSpecifier':
    case 'ImportNamespaceSpecifier':
    case 'ImportAttribute':
    case 'ExportAllDeclaration':
    case 'LabeledStatement':
    case 'BreakStatement':
    case 'ContinueStatement':
    case 'MetaProperty':
      return false
    // Asking what a value is touches no clock: `value instanceof Date`.
    case 'BinaryExpression':
      return !(parent['operator'] === 'instanceof' && field === 'right')
    case 'ExportSpecifier':
      return field === 'local' && parent['exportKind'] !== 'type'
    default:
      return true
  }
}

function asyncWord(node: SyntaxNode): string | undefined {
  if (node['async'] === true) return 'async'
  if (node.type === 'AwaitExpression') return 'await'
  if (node.type === 'ForOfStatement' && node['await'] === true) return 'for await'
  if (node.type === 'VariableDeclaration' && node['kind'] === 'await using') return 'await using'
  return node.type === 'ImportExpression' ? 'import()' : undefined
}

function isRequire(callee: SyntaxNode): boolean {
  if (callee.type === 'Identifier') return callee['name'] === 'require'
  return callee.type === 'MemberExpression' && (callee['object'] as SyntaxNode)['name'] === 'require'
}

function isImportMetaUrl(node: SyntaxNode): boolean {
  if (node.type !== 'MemberExpression' || memberName(node) !== 'url') return false
  return (node['object'] as SyntaxNode).type === 'MetaProperty'
}

function memberName(member: SyntaxNode): string | undefined {
  const property = member['property'] as SyntaxNode
  return member['computed'] === true ? literalText(property) : (property['name'] as string)
}

function literalText(node: unknown): string | undefined {
  const literal = node as SyntaxNode | null | undefined
  if (literal?.type === 'Literal' && typeof literal['value'] === 'string') return literal['value']
  if (literal?.type !== 'TemplateLiteral') return undefined
  const [only, ...more] = literal['quasis'] as readonly { value: { cooked: string } }[]
  return more.length === 0 ? only?.value.cooked : undefined
}

// --- scopes -----------------------------------------------------------------------------------------------------

/** The names that a node declares for everything inside it, or undefined where it opens no scope. */
function declaredBy(node: SyntaxNode): Set<string> | undefined {
  switch (node.type) {
    case 'Program':
    case 'TSModuleBlock':
      return new Set([...hoisted(node), ...lexical(node['body'] as readonly SyntaxNode[])])
    case 'BlockStatement':
    case 'StaticBlock':
      return new Set(lexical(node['body'] as readonly SyntaxNode[]))
    case 'SwitchStatement': {
      const cases = node['cases'] as readonly SyntaxNode[]
      return new Set(cases.flatMap((one) => [...lexical(one['consequent'] as readonly SyntaxNode[])]))
    }
    case 'ForStatement':
      return new Set(lexical([node['init'] as SyntaxNode | null]))
    case 'ForInStatement':
    case 'ForOfStatement':
      return new Set(lexical([node['left'] as SyntaxNode]))
    case 'CatchClause':
      return new Set(bound(node['param']))
    case 'FunctionDeclaration':
    case 'FunctionExpression':
    case 'ArrowFunctionExpression': {
      const params = node['params'] as readonly SyntaxNode[]
      const own = node.type === 'FunctionExpression' ? [...bound(node['id']), 'arguments'] : ['arguments']
      return new Set([...own, ...params.flatMap((param) => [...bound(param)]), ...hoisted(node['body'])])
    }
    case 'ClassExpression':
      return new Set(bound(node['id']))
    default:
      return undefined
  }
}

/** What the statements of one block declare for that block. */
function* lexical(statements: readonly (SyntaxNode | null)[]): Generator<string> {
  for (const statement of statements) {
    switch (statement?.type) {
      case 'VariableDeclaration':
        for (const one of statement['declarations'] as readonly SyntaxNode[]) yield* bound(one['id'])
        break
      case 'FunctionDeclaration':
      case 'ClassDeclaration':
      case 'TSEnumDeclaration':
      case 'TSModuleDeclaration':
      case 'TSImportEqualsDeclaration':
        yield* bound(statement['id'])
        break
      case 'ImportDeclaration':
        for (const one of statement['specifiers'] as readonly SyntaxNode[]) yield* bound(one['local'])
        break
      case 'ExportNamedDeclaration':
      case 'ExportDefaultDeclaration':
        yield* lexical([statement['declaration'] as SyntaxNode | null])
        break
      default:
    }
  }
}

/** Every `var` below a function's body or a program, however deep, but not inside a function of its own. */
function* hoisted(node: unknown): Generator<string> {
  if (typeof node !== 'object' || node === null) return
  for (const [child] of childrenOf(node as SyntaxNode)) {
    if (child.type.endsWith('FunctionExpression') || child.type === 'FunctionDeclaration') continue
    if (child.type === 'VariableDeclaration' && child['kind'] === 'var') yield* lexical([child])
    yield* hoisted(child)
  }
}

/** The names that a pattern binds. */
function* bound(pattern: unknown): Generator<string> {
  const node = pattern as SyntaxNode | null | undefined
  switch (node?.type) {
    case 'Identifier':
      yield node['name'] as string
      break
    case 'ObjectPattern':
      for (const property of node['properties'] as readonly SyntaxNode[]) {
        yield* bound(property.type === 'RestElement' ? property['argument'] : property['value'])
      }
      break
    case 'ArrayPattern':
      for (const element of node['elements'] as readonly unknown[]) yield* bound(element)
      break
    case 'AssignmentPattern':
      yield* bound(node['left'])
      break
    case 'RestElement':
      yield* bound(node['argument'])
      break
    case 'TSParameterProperty':
      yield* bound(node['parameter'])
      break
    default:
  }
}

/** From an offset to its line, counted from 1. */
function lineFinder(text: string): (offset: number) => number {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return (offset) => {
    let low = 0
    let high = starts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle
    }
    return low + 1
  }
}
