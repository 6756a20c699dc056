import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { validate } from 'dockerfile-utils'
import { Deployment } from 'kubernetes-models/apps/v1'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { Pod, Service } from 'kubernetes-models/v1'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { packageRoot } from '../lib/base/package-root.ts'
import { defaultLimits } from '../lib/server/options.ts'
import { temporaryFolder } from './support/files.ts'
import { ask, spawnServer, startServer } from './support/server.ts'

// biome-ignore lint/suspicious/noExplicitAny: a manifest is what its schema says
type Manifest = any

const read = (file: string): Manifest[] =>
  parseAllDocuments(readFileSync(join(packageRoot, 'deploy', file), 'utf8')).map(document => document.toJS())

const kinds = { Deployment, HorizontalPodAutoscaler, PodDisruptionBudget, Pod, Service }

/** What is wrong with a manifest by Kubernetes' own schema, members that it does not know among it. */
function problems(manifest: Manifest): string[] {
  const seen = new Set<string>()
  const Kind = kinds[manifest.kind as keyof typeof kinds] as unknown as { prototype: { validate(): void } }
  const model = Object.assign(Object.create(Kind.prototype), watched(manifest, '', seen))
  try {
    model.validate()
  } catch (error) {
    return [(error as Error).message]
  }
  return members(manifest, '').filter(path => !seen.has(path))
}

/** `value`, which notes every member below it that is looked at: what a validator passes over, its schema does not know. */
function watched(value: Manifest, path: string, seen: Set<string>): Manifest {
  if (typeof value !== 'object' || value === null) return value
  return new Proxy(value, {
    get(target, name) {
      const member = Reflect.get(target, name)
      if (typeof name !== 'string' || !Object.hasOwn(target, name)) return member
      seen.add(`${path}/${name}`)
      return watched(member, `${path}/${name}`, seen)
    },
  })
}

function members(value: Manifest, path: string): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.keys(value).flatMap(name => [`${path}/${name}`, ...members(value[name], `${path}/${name}`)])
}

const manifests = read('kubernetes.yaml')
const [deployment, service, autoscaler, budget] = manifests
const container = deployment.spec.template.spec.containers[0]
const [inferenceService] = read('kserve.yaml')

/** The members of KServe's `ComponentExtensionSpec` that are used; all others of a predictor are a pod's. */
const extensionTypes: { readonly [name: string]: string } = {
  minReplicas: 'number',
  maxReplicas: 'number',
  scaleTarget: 'number',
  scaleMetric: 'string',
  timeout: 'number',
}

describe('the manifests', () => {
  it.each(manifests.map(manifest => [manifest.kind, manifest]))(
    '%s is what Kubernetes expects',
    (_, manifest) => {
      expect(problems(manifest)).toEqual([])
    },
  )

  it('are checked by something that can fail', () => {
    const broken = structuredClone(deployment)
    broken.spec.template.spec.containers[0].livenesProbe = {}
    broken.spec.replica = 3
    const paths = ['/spec/template/spec/containers/0/livenesProbe', '/spec/replica']
    expect(problems(broken).sort()).toEqual(paths.sort())
    broken.spec.template.spec.containers[0].ports[0].containerPort = 'http'
    expect(problems(broken)).toEqual([expect.stringMatching(/containerPort.*integer/)])
  })

  it("have a KServe predictor that is a pod plus KServe's own fields", () => {
    const { apiVersion, kind, metadata, spec, ...rest } = inferenceService
    expect({ apiVersion, kind, rest }).toEqual({
      apiVersion: 'serving.kserve.io/v1beta1',
      kind: 'InferenceService',
      rest: {},
    })
    expect(metadata.name).toMatch(/^[a-z]([-a-z0-9]*[a-z0-9])?$/)
    const { predictor, ...others } = spec
    expect(others).toEqual({})
    const extension = Object.entries(predictor).filter(([name]) => Object.hasOwn(extensionTypes, name))
    for (const [name, value] of extension) expect(typeof value, name).toBe(extensionTypes[name])
    const pod = Object.fromEntries(
      Object.entries(predictor).filter(([name]) => !Object.hasOwn(extensionTypes, name)),
    )
    expect(problems({ apiVersion: 'v1', kind: 'Pod', metadata, spec: pod })).toEqual([])
    expect(pod.containers).toMatchObject([{ name: 'kserve-container' }])
  })

  it('refer to each other by their actual names', () => {
    const labels = deployment.spec.template.metadata.labels
    expect(deployment.spec.selector.matchLabels).toEqual(labels)
    expect(service.spec.selector).toEqual(labels)
    expect(budget.spec.selector.matchLabels).toEqual(labels)
    expect(autoscaler.spec.scaleTargetRef).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: deployment.metadata.name,
    })
    const ports = container.ports.map(({ name }: { name: string }) => name)
    for (const { targetPort } of service.spec.ports) expect(ports).toContain(targetPort)
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
      expect(ports).toContain(container[probe].httpGet.port)
    const drainMs = Number(container.args[container.args.indexOf('--drain-ms') + 1])
    const preStopSeconds = Number(container.lifecycle.preStop.exec.command[1])
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(
      drainMs + preStopSeconds * 1000,
    )
  })

  it('name existing paths and an existing metric', async () => {
    const server = await startServer({ threads: 1 })
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
      expect((await ask(server.url + container[probe].httpGet.path)).status).toBe(200)
    const predictor = inferenceService.spec.predictor.containers[0]
    const { path: ready, port } = predictor.readinessProbe.httpGet
    expect((await ask(server.url + ready)).status).toBe(200)
    expect([port, port]).toEqual([
      predictor.ports[0].containerPort,
      Number(predictor.args[predictor.args.indexOf('--port') + 1]),
    ])
    const { path, metrics } = {
      path: deployment.spec.template.metadata.annotations['prometheus.io/path'],
      metrics: autoscaler.spec.metrics,
    }
    const { json } = await ask(server.url + path)
    expect(metrics.map(({ type }: { type: string }) => type)).toEqual(['Pods', 'Resource']) // with a fallback
    for (const { pods } of metrics.slice(0, 1))
      expect(json).toMatch(new RegExp(`^${pods.metric.name}\\{`, 'm'))
    await server.stop()
  })
})

/** Bytes that a pixel takes while it is decoded, at worst (docs/scaling.md). */
const bytesPerPixel = 12

it.each([
  ['kubernetes.yaml', container],
  ['kserve.yaml', inferenceService.spec.predictor.containers[0]],
])('%s allows the memory and threads its server may need', (_, { args, resources, env }) => {
  const value = (name: string) => Number(args[args.indexOf(name) + 1])
  const decoders = value('--decoders')
  const { bodyBytes, heldBytes, pixelsPerPicture } = defaultLimits
  expect(args).not.toContain('--max-megapixels')
  const needed = 0.3 * 2 ** 30 + heldBytes + decoders * (bodyBytes + pixelsPerPicture * bytesPerPixel)
  const [, gibibytes] = /^(\d+)Gi$/.exec(resources.limits.memory)!
  expect(needed).toBeLessThan(Number(gibibytes) * 2 ** 30)
  const [{ name, value: threads }] = env
  expect([name, Number(threads)]).toEqual(['UV_THREADPOOL_SIZE', decoders + 1 + 1])
})

describe('the image', () => {
  const dockerfile = readFileSync(join(packageRoot, 'Dockerfile'), 'utf8')
  const stage = (name: string) =>
    new RegExp(`^FROM \\S+ AS ${name}\\n((?:(?!FROM ).*\\n)*)`, 'm').exec(dockerfile)![1]!
  const copied = (name: string) =>
    [...stage(name).matchAll(/^COPY --from=build \/residual\/(\S+) /gm)].map(([, path]) => path!)

  /** What is wrong with it by a linter, and what that passes over: stages and files that are not there, commands in no JSON. */
  function dockerfileProblems(text: string): string[] {
    const found = validate(text).map(({ message }) => (typeof message === 'string' ? message : message.value))
    const ignored = readFileSync(join(packageRoot, '.dockerignore'), 'utf8').split('\n')
    const stages = new Set<string>()
    for (const line of text.replaceAll('\\\n', ' ').split('\n')) {
      const [, stage] = /^FROM \S+ AS (\S+)$/.exec(line) ?? []
      if (stage) stages.add(stage)
      const [, copied = ''] = /^COPY (.*)$/.exec(line) ?? []
      const [, from] = /^--from=(\S+) /.exec(copied) ?? []
      if (from !== undefined && !(stages.has(from) || from.includes(':'))) found.push(`no stage ${from}`)
      if (copied && from === undefined)
        for (const path of copied.split(' ').slice(0, -1))
          if (!existsSync(join(packageRoot, path)) || ignored.includes(path)) found.push(`no file ${path}`)
      const [, command] = /^(?:ENTRYPOINT|CMD) (.*)$/.exec(line) ?? []
      if (command !== undefined && !isList(command)) found.push(`no list ${command}`)
    }
    return found
  }

  function isList(text: string): boolean {
    try {
      return Array.isArray(JSON.parse(text))
    } catch {
      return false
    }
  }

  it('has no faults that show without building it', () => {
    expect(dockerfileProblems(dockerfile)).toEqual([])
  })

  it.each([
    ['WORKDIR', 'WORKDR', /Unknown instruction: WORKDR/],
    ['--from=build ', '--form=build ', /Unknown flag: form/],
    ['--from=build-cuda', '--from=buld-cuda', /no stage buld-cuda/],
    ['AS cpu', 'AS build', /duplicate name build/],
    ['EXPOSE 8000', 'EXPOSE http', /Invalid containerPort: http/],
    ['COPY package.json', 'COPY pakage.json', /no file pakage.json/],
    ['["node", ', '["node" ', /no list/],
  ])('would fail with %j as %j', (right, wrong, problem) => {
    expect(dockerfileProblems(dockerfile.replaceAll(right, wrong)).join('\n')).toMatch(problem)
  })

  it('contains everything a server needs, and starts with valid options', async () => {
    const folder = temporaryFolder()
    for (const path of copied('cpu')) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      // Node would follow a link to dist/ out of the folder; what is only read may be one.
      if (path === 'node_modules') symlinkSync(join(packageRoot, path), join(folder, path))
      else cpSync(join(packageRoot, path), join(folder, path), { recursive: true })
    }
    const commands: string[][] = [
      JSON.parse(/^CMD (.*)$/m.exec(stage('cpu'))![1]!),
      container.args,
      inferenceService.spec.predictor.containers[0].args,
    ]
    for (const [command, ...args] of commands) {
      expect(command).toBe('serve')
      const ports = [
        '--host',
        '127.0.0.1',
        '--port',
        '0',
        ...(args.includes('--grpc-port') ? ['--grpc-port', '0'] : []),
      ]
      const server = await spawnServer([...args, ...ports, '--threads', '1'], {}, folder) // the last of an option counts
      expect((await ask(`${server.url}/v2/health/ready`)).status).toBe(200)
      server.kill('SIGTERM')
      expect(await server.exit).toBe(0)
    }
  })

  it('for GPUs contains the same, plus the CUDA backend', () => {
    expect(copied('cuda')).toEqual(copied('cpu'))
    expect(stage('cuda')).toMatch(/^COPY --from=build-cuda \/residual\/build-cuda\/Release /m)
  })
})
