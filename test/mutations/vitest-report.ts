// What vitest's JSON report says of a run.

/** The first test that failed; undefined if there is no report, because the process ended. */
export function firstFailed(stdout: string): string | undefined {
  const begin = stdout.indexOf('{"numTotalTestSuites"')
  if (begin < 0) return undefined
  const report = JSON.parse(stdout.slice(begin, stdout.lastIndexOf('}') + 1))
  const results: { assertionResults: { status: string; fullName: string }[] }[] = report.testResults
  return results.flatMap(result => result.assertionResults).find(test => test.status === 'failed')?.fullName
}
