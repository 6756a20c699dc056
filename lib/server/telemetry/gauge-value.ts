// A gauge's value with its labels.

export interface GaugeValue {
  readonly labels: { readonly [label: string]: string }
  readonly value: number
}
