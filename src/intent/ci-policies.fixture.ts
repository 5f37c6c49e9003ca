/** The three policies for CI that the seed text gives as examples, each under its own words. */

/** "Untrusted PR jobs may run read-only analysis tools but cannot trigger deployment tools." */
export const UNTRUSTED_JOBS_ONLY_ANALYSE = `@id("jobs-may-analyse")
@reason("any job may run read-only analysis")
permit (principal is Job, action in Action::"category/analysis", resource)
when { action in Action::"tier/low" };

@id("trusted-jobs-may-deploy")
permit (principal is Job, action in Action::"category/deployment", resource)
when { principal has trusted && principal.trusted };

@id("untrusted-jobs-never-deploy")
@reason("jobs of pull requests and forks cannot trigger deployments")
forbid (principal is Job, action in Action::"category/deployment", resource)
unless { principal has trusted && principal.trusted };
`;

/** "Release tooling may publish only signed artifacts generated in the same pipeline." */
export const RELEASES_PUBLISH_OWN_SIGNED_ARTIFACTS = `@id("release-own-signed-artifacts")
@reason("releases are signed artifacts of the same pipeline")
permit (principal is Job, action in Action::"category/release", resource)
when { principal has trusted && principal.trusted }
when { context.artifacts.signed }
when { principal has run_id && context.artifacts.pipelines == [principal.run_id] }
when { context.artifacts.digests.contains(context.input.package) };
`;

/** "Infrastructure mutation tools require protected branch + approval + provenance verification." */
export const INFRASTRUCTURE_NEEDS_BRANCH_APPROVAL_PROVENANCE = `@id("infrastructure-with-provenance")
@reason("infrastructure changes come from a protected branch, with provenance, and are approved")
@require_approvals("2")
@require_isolation("microvm")
permit (principal is Job, action in Action::"category/infrastructure", resource)
when { principal has ref_protected && principal.ref_protected }
when { context.artifacts.proven };
`;
