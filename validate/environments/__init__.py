"""Python environments of their own for frameworks that cannot share one with the rest.

An environment is one lock file here (``NAME.txt``) and one entry in
:mod:`mindport.validate.environments.specification`. ``validate env create NAME`` builds it;
``--backend`` finds it. MindPort itself is not installed in it: a worker there is shown the code of
the process that starts it (:mod:`mindport.validate.environments.code`), so the two cannot differ.
"""
